//! Rows 33 to 35: who may ask without a token, and that nobody else is listened to.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Asked, pipeline};
use crate::program::{certificate, run};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn web_pages_of_other_sites_are_refused_though_there_is_no_token() {
    let asked = Asked::numbers("hosts = [\"station.example\"]");
    let own = asked.address.to_string();
    for (headers, expected) in crate::strangers::cases(asked.address) {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let reply = asked.ask("GET", "/", &headers);
        assert_eq!(reply.status, expected, "{headers:?}: {}", reply.body);
        reply.json();
        assert!(reply.head.contains("x-content-type-options: nosniff") && !reply.head.contains("access-control"));
    }
    let host = format!("Host: {own}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let reply = asked.ask(method, "/", &[&host]);
        assert!(reply.status == 405 && reply.head.contains("allow: get, head"), "{method}: {}", reply.head);
    }
    for path in ["/../in.jsonl", "/%2e%2e/in.jsonl", "//", "/openapi.json/", "/results"] {
        asked.get(path, &[]).problem(404);
    }
    asked.end_well();
}

#[test]
fn with_a_token_only_who_shows_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, SECRET).unwrap();
    std::fs::write(directory.path().join("in.jsonl"), "").unwrap();
    let toml = pipeline("token = \"token\"");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(directory.path().join("numbers.toml"), &toml).unwrap();
    let open = run(directory.path(), &["run", "numbers.toml"]);
    let stderr = String::from_utf8(open.stderr).unwrap();
    assert!(open.status.code() == Some(2) && stderr.contains("others than its owner may use this file"), "{stderr}");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let asked = Asked::start(directory, &toml);
    assert!(asked.get("/", &[]).problem(401).contains("the token of [queries] is wanted"));
    assert_eq!(asked.get("/", &["Authorization: Bearer wrong"]).status, 401);
    assert_eq!(asked.get("/", &[&format!("Authorization: Bearer {SECRET}")]).status, 200);
    assert!(!asked.log().contains(SECRET));
    asked.end_well();
}

#[test]
fn with_a_certificate_it_is_asked_over_tls_by_who_trusts_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let (certificate, _) = certificate(&path);
    std::fs::write(path.join("token"), SECRET).unwrap();
    std::fs::set_permissions(path.join("token"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(path.join("in.jsonl"), "").unwrap();
    let toml = pipeline("token = \"token\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"");
    // Not loopback alone: all addresses of this machine.
    let asked = Asked::start(directory, &toml.replace("127.0.0.1:0", "0.0.0.0:0"));
    let ask = |scheme: &str, more: &[&str]| {
        let url = format!("{scheme}://localhost:{}/", asked.address.port());
        let mut curl = Command::new("curl");
        let output = curl.args(["--silent", "--show-error", "--max-time", "20", &url]).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (trust, token) = (certificate.to_str().unwrap(), format!("Authorization: Bearer {SECRET}"));
    let (code, body) = ask("https", &["--cacert", trust, "--header", &token]);
    assert!(code == Some(0) && body.contains("\"statusCode\":200"), "{code:?}: {body}");
    let (code, body) = ask("https", &["--cacert", trust]);
    assert!(code == Some(0) && body.contains("\"statusCode\":401"), "{code:?}: {body}");
    assert_eq!(ask("https", &[]), (Some(60), String::new()), "nobody vouches for the certificate");
    let (code, body) = ask("http", &["--header", &token]);
    assert!(code != Some(0) && body.is_empty(), "not in the clear: {code:?}: {body}");
    asked.end_well();
}

#[test]
fn an_address_that_others_reach_needs_token_and_certificate() {
    let directory = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        for with in ["", "token = \"token\"", "certificate = \"c.pem\"\nkey = \"k.pem\""] {
            let toml = pipeline(with).replace("127.0.0.1:0", listen);
            std::fs::write(directory.path().join("numbers.toml"), toml).unwrap();
            let output = run(directory.path(), &["run", "numbers.toml"]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains("others can reach this address: add `token`"), "{stderr}");
        }
    }
}
