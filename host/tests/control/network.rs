//! Row 33: nobody listens beyond this machine without a token and TLS.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::{Stream, TOKEN, answer, command, write_private};
use crate::program::{certificate, plugin};

#[test]
fn without_a_token_or_tls_it_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    write_private(&folder.join("token"), TOKEN);
    write_private(&folder.join("short"), "0123456789");
    write_private(&folder.join("open"), TOKEN);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(folder.join("open"), open).unwrap();
    let flatten = plugin("flatten");
    for (arguments, code, why) in [
        ("--control 0.0.0.0:0", 2, "add --control-token FILE"),
        ("--control 127.0.0.1:0", 2, "add --control-token FILE"),
        ("--control 0.0.0.0:0 --control-token token", 2, "add --control-cert FILE and --control-key FILE"),
        ("--control [::]:0 --control-token token", 2, "add --control-cert FILE and --control-key FILE"),
        ("--control 127.0.0.1:0 --control-token short", 2, "openssl rand"),
        ("--control 127.0.0.1:0 --control-token open", 2, "chmod 600 open"),
        ("--control 127.0.0.1:0 --control-token nowhere", 3, "nowhere"),
        ("--control 127.0.0.1:0 --control-token token --control-cert token --control-key token", 2, "PEM"),
        ("--control 127.0.0.1:0 --control-token token --control-cert token", 2, "--control-key"),
        ("--control-token token", 2, "--control"),
    ] {
        let plugin = ["--plugin", flatten.to_str().unwrap(), "--from", "sim:iss"];
        let arguments = [&plugin[..], &arguments.split(' ').collect::<Vec<_>>()].concat();
        let output = command(folder, &arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(why), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty() && !text.contains(TOKEN), "{text}");
    }
}

#[test]
fn with_both_it_is_asked_by_who_trusts_it() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(directory.path());
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    // Not loopback alone: all addresses of this machine.
    let stream = Stream::start(&["--control", "0.0.0.0:0", "--control-cert", certificate, "--control-key", key]);
    let (mut silent, start) = (TcpStream::connect(("127.0.0.1", stream.address.port())).unwrap(), Instant::now());
    let url = format!("https://localhost:{}/", stream.address.port());
    let asked = ["status", "--json", "--control", &url];
    let shown = [&asked[..], &["--control-token", "token", "--control-ca", certificate]].concat();
    let status: serde_json::Value = serde_json::from_str(&stream.ok(&shown)).unwrap();
    assert_eq!(status["pipelines"][0]["of"], "flatten");

    let output = stream.command(&[&asked[..], &["--control-token", "token"]].concat());
    assert_eq!(output.status.code(), Some(3), "nobody vouches for the certificate");
    let output = stream.command(&[&asked[..], &["--control-ca", certificate]].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("give it with --control-token FILE"), "{text}");
    let plain = url.replace("https", "http").replace("localhost", "station.example");
    let output = stream.command(&["status", "--control", &plain, "--control-token", "token"]);
    assert_eq!(output.status.code(), Some(2), "the token is not sent in the clear");
    assert_eq!(answer(&mut silent).0, 0, "who does not shake hands is cut off");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    stream.end_well();
}
