//! `host topics` on an embedded log that was filled through the library.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use host::log::Log;
use host::log::embedded::Embedded;
use host::message::Batch;

use super::host;

/// Runs `host topics …` in `folder`; gives exit code, standard output and standard error.
fn topics(folder: &Path, arguments: &str) -> (i32, String, String) {
    let output = host(&format!("topics {arguments}")).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn fill(folder: &Path, values: impl IntoIterator<Item = Vec<u8>>) {
    let log = Embedded::open(&folder.join("apogee.db")).unwrap();
    log.create_topic("iss", 1).unwrap();
    let mut batch = Batch::new();
    for value in values {
        batch.push(Some(b"iss"), Some(&value), 1_690_000_000_000);
    }
    let mut writer = log.writer("iss").unwrap();
    writer.append(&batch).unwrap();
    writer.flush().unwrap();
}

#[test]
fn topics_are_created_listed_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(topics(folder, "create kafka:///iss"), (0, "created kafka:///iss\n".into(), String::new()));
    assert_eq!(topics(folder, "create kafka:///iss"), (0, "exists kafka:///iss\n".into(), String::new()));
    fill(folder, [b"{\"n\":1}".to_vec(), b"\x1b[31m".to_vec(), vec![0xff, 0x00]]);
    let (_, list, _) = topics(folder, "list");
    assert_eq!(list, "iss  1 partition(s)  3 message(s)  0..3\n");

    let (code, text, error) = topics(folder, "read kafka:///iss");
    assert_eq!((code, error.as_str()), (0, ""));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values: Vec<_> = lines.iter().map(|line| line["value"].clone()).collect();
    let hex = serde_json::json!({ "hex": "ff00" });
    assert_eq!(values, ["{\"n\":1}".into(), "\x1b[31m".into(), hex]);
    assert_eq!((&lines[2]["offset"], &lines[2]["key"], &lines[2]["partition"]), (&2.into(), &"iss".into(), &0.into()));
    assert!(!text.contains('\x1b'), "control characters reached the terminal");

    assert_eq!(topics(folder, "read kafka:///iss --raw --limit 1").1, "{\"n\":1}\n");
    assert_eq!(topics(folder, "read kafka:///iss --raw --offset 1 --limit 1").1, "\x1b[31m\n");
    assert_eq!(topics(folder, "read kafka:///iss --offset 3").1, "");
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder, []);
    let (code, _, error) = topics(folder, "read kafka:///iss --partition 7");
    assert_eq!((code, error.as_str()), (2, "error: --partition 7: kafka:///iss has 1 partition(s), counted from 0\n"));
    let (code, _, error) = topics(folder, "read kafka:///none");
    assert_eq!(code, 2, "{error}");
    assert!(error.ends_with("create it with: host topics create kafka:///none\n"), "{error}");
    let (code, _, error) = topics(folder, "list kafka://127.0.0.1:1");
    assert_eq!(code, 3, "{error}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    // More than a pipe holds, so that the program must notice.
    fill(folder.path(), (0..2_000).map(|_| vec![b'x'; 1_000]));
    let mut command = host("topics read kafka:///iss --limit 2000");
    let mut child = command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut start = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
