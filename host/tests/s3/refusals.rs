//! What is wrong with a bucket, its keys or its service is said at the start of a run, before anything is read; and no key
//! is shown.

use std::path::Path;
use std::process::Command;

use xtask::minio::{ACCESS_KEY, SECRET_KEY};

use super::{Reader, endpoint, unpacked};
use crate::program::{host, plugin};

/// Names of folders, as a person may choose them.
const STATIONS: [&str; 3] = ["14 St + 8 Av, 50%", "2F%2e#?&=", "Café~1"];

/// A pipeline into a bucket, and its environment, which has nothing of ours in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..100).map(|n| format!("{{\"n\":{n},\"s\":\"{}\"}}\n", STATIONS[n % 3])).collect();
        std::fs::write(folder.path().join("in.jsonl"), lines).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// A run into this location, with these further lines of `[s3]`.
    fn run(&self, to: &str, s3: &str) -> Command {
        let text = format!(
            "name = \"refusals\"\n[source]\nuri = \"file:in.jsonl\"\nuntil = \"end\"\n[[plugin]]\nfile = {:?}\n\
             [plugin.settings]\nfields = [{{ from = \"n\" }}, {{ from = \"s\" }}]\n\
             [sink]\nuri = {to:?}\ncompression = \"gzip\"\npath = \"{{s}}\"\n[s3]\n{s3}",
            plugin("flatten")
        );
        self.write("refusals.toml", &text);
        let mut host = host(self.path(), &["run", "refusals.toml"]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            host.env_remove(name);
        }
        host.env("HOME", self.path());
        host
    }

    fn refuses(&self, mut host: Command, says: &[&str]) {
        let output = host.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        says.iter().for_each(|says| assert!(stderr.contains(says), "{says:?} is not in: {stderr}"));
        assert!(!stderr.contains(SECRET_KEY) && !stderr.contains("wrong-secret"), "{stderr}");
    }
}

#[test]
fn a_wrong_bucket_key_or_service_is_named_at_the_start_and_the_next_run_has_all() {
    let bench = Bench::new();
    let location = super::location().to_string();
    let to = format!("csv:{location}");
    let at = format!("endpoint = {:?}\n", endpoint());
    bench.refuses(bench.run(&to, &at), &["no keys are known", "access_key_file", "AWS_ACCESS_KEY_ID", "credentials"]);
    let keyed = |mut host: Command, access: &str, secret: &str| {
        host.env("AWS_ACCESS_KEY_ID", access).env("AWS_SECRET_ACCESS_KEY", secret);
        host
    };
    let good = |host| keyed(host, ACCESS_KEY, SECRET_KEY);
    bench.refuses(keyed(bench.run(&to, &at), "nobody", SECRET_KEY), &[&location, "does not know the access key"]);
    bench
        .refuses(keyed(bench.run(&to, &at), ACCESS_KEY, "wrong-secret"), &[&location, "the secret key is not the one"]);
    let missing = good(bench.run("csv:s3://no-such-bucket/x", &at));
    bench.refuses(missing, &["s3://no-such-bucket/x", "the bucket is not there; create it"]);
    bench.refuses(good(bench.run(&to, "")), &[&location, "no region is known", "AWS_REGION"]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = format!("endpoint = \"http://{nobody}\"\n");
    bench.refuses(good(bench.run(&to, &down)), &[&location, "does not answer", "refused"]);
    bench.refuses(
        bench.run(&to, &format!("{at}access_key_file = \"a\"\nsecret_key_file = \"b\"\n")),
        &["a: No such file"],
    );

    bench.write("keys", &format!("[lake]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"));
    let output = bench.run(&to, &format!("{at}credentials = \"keys\"\nprofile = \"lake\"\n")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains(SECRET_KEY) && !stderr.contains(ACCESS_KEY), "{stderr}");
    let files = Reader::of(super::location_of(&location)).files();
    let folders: Vec<&str> = files.iter().map(|(name, _)| name.split_once('/').unwrap().0).collect();
    assert_eq!(folders, STATIONS);
    let rows: usize =
        files.iter().map(|(name, bytes)| csv::Reader::from_reader(unpacked(name, bytes)).records().count()).sum();
    assert_eq!(rows, 100, "nothing was read before");
}
