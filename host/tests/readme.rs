//! The README's commands are run as they stand: every line of its `sh` blocks, in order, from the top of the project.

use std::path::Path;
use std::process::Command;

use crate::program::top;

#[test]
fn every_command_of_the_readme_works() {
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    let commands = commands(&readme);
    assert!(commands.len() >= 8, "the README has lost its commands: {commands:?}");
    let directory = tempfile::tempdir().unwrap();
    for folder in ["plugins", "pipelines"] {
        std::os::unix::fs::symlink(top().join(folder), directory.path().join(folder)).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_host")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(program.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    for command in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(directory.path())
            .env("PATH", path.as_ref().unwrap())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {}\n{stderr}", output.status);
    }
}

fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => commands.push(command.to_owned()),
            _ => {}
        }
    }
    commands
}
