//! The README's commands are run as they stand: each `sh` block as a script that ends at the first command which fails, in
//! order, from the top of the project. What a block has left running is ended with it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::top;

/// The longest that a block may take.
const LONGEST: Duration = Duration::from_secs(120);

#[test]
fn every_command_of_the_readme_works() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    let scripts = scripts(&readme);
    assert!(scripts.len() >= 13, "the README has lost its commands: {scripts:?}");
    let directory = tempfile::tempdir().unwrap();
    for folder in ["plugins", "pipelines"] {
        std::os::unix::fs::symlink(top().join(folder), directory.path().join(folder)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_host")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(program.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let log = directory.path().join("log");
    for script in scripts {
        let output = std::fs::File::create(&log).unwrap();
        let mut shell = Command::new("sh")
            .args([
                "-ec",
                &script.replace("127.0.0.1:7070", &free_address()).replace("127.0.0.1:8080", &free_address()),
            ])
            .current_dir(directory.path())
            .env("PATH", path.as_ref().unwrap())
            .env("XDG_RUNTIME_DIR", directory.path())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        let start = Instant::now();
        let status = loop {
            match shell.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if start.elapsed() > LONGEST => break None,
                None => std::thread::park_timeout(Duration::from_millis(20)),
            }
        };
        // The group outlives its shell for as long as anything of it runs; there may be nothing left.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", shell.id())]).output().unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(status.is_some_and(|status| status.success()), "{script}{status:?}\n{said}");
    }
}

/// An address where nobody listened a moment ago.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn scripts(readme: &str) -> Vec<String> {
    let blocks = readme.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}
