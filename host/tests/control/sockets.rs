//! The Unix sockets: their owner's alone, gone with their host, and not where others can put something in their place.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;

use super::{Stream, answer, command};
use crate::program::plugin;

fn ask(socket: &Path, headers: &str) -> u16 {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    answer(&mut stream).0
}

#[test]
fn a_socket_is_its_owners_and_goes_with_its_host() {
    let stream = Stream::start(&[]);
    let directory = stream.directory.path().join("apogee");
    assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    let sockets: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [socket] = &sockets[..] else { panic!("{sockets:?}") };
    assert_eq!(std::fs::metadata(socket).unwrap().mode() & 0o777, 0o600);
    assert_eq!(ask(socket, ""), 200);
    assert_eq!(ask(socket, "Origin: http://localhost\r\n"), 403);
    assert_eq!(ask(socket, "Upgrade: websocket\r\nConnection: Upgrade\r\n"), 403);

    // Left by a host that was killed; and something else that is nobody's business.
    drop(UnixListener::bind(directory.join("999999999.sock")).unwrap());
    std::fs::write(directory.join("notes"), "").unwrap();
    let other = short_run(stream.directory.path());
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    assert!(!directory.join("999999999.sock").exists() && directory.join("notes").exists());
    assert!(socket.exists(), "another host takes nothing from this one");
    stream.goes_on();
    let Stream { directory: _directory, process, .. } = stream;
    assert!(process.stop("INT").success());
    assert!(!socket.exists(), "it is gone with its host");
}

#[test]
fn a_directory_that_is_not_its_owners_alone_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("apogee");
    let elsewhere = tempfile::tempdir().unwrap();
    let warned = |why: &str| {
        let output = short_run(folder.path());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && text.contains("no control socket") && text.contains(why), "{text}");
        let asked = command(folder.path(), &["status"]).output().unwrap();
        assert_eq!(asked.status.code(), Some(3), "{}", String::from_utf8_lossy(&asked.stderr));
    };
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    warned("mode 0700");
    std::fs::remove_dir(&directory).unwrap();
    symlink(elsewhere.path(), &directory).unwrap();
    warned("mode 0700");
    std::fs::remove_file(&directory).unwrap();
    std::fs::write(&directory, "").unwrap();
    warned("mode 0700");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    // Longer than the name of a socket may be.
    let deep = folder.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let output = short_run(&deep);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.contains("no control socket"), "{text}");
}

#[test]
fn a_host_that_does_not_answer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = short_run(folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listener = UnixListener::bind(folder.path().join("apogee/1.sock")).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let asked = command(folder.path(), &["status"]).output().unwrap();
    let text = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(3), "{text}");
    assert!(text.contains("a host does not say what it runs") && text.contains("apogee/1.sock"), "{text}");
}

/// A run that ends at once.
fn short_run(folder: &Path) -> Output {
    let replies = r#"{"iss_position": {"longitude": "-85.6433", "latitude": "-15.3433"}, "timestamp": 1690000000, "message": "success"}"#;
    std::fs::write(folder.join("short.jsonl"), replies).unwrap();
    let flatten = plugin("flatten");
    let arguments = ["--plugin", flatten.to_str().unwrap(), "--from", "file:short.jsonl", "--name", "short"];
    command(folder, &arguments).output().unwrap()
}
