//! Runs programs. What fails is named with its command line and, where it was not shown, the end of what it said.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// At most so much of what a program said goes into an error.
const TAIL: usize = 4_000;

/// Cargo, from the top of the project, as if somebody had called it by hand: what it says of a package to the programs that
/// it runs would have build scripts run again that ask for the same of their own.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(crate::root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.starts_with(own))) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a program whose output the user sees.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a program and gives what it wrote to stdout; its stderr is part of the error only.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}\n{}{}", line(command), tail(&stdout), tail(&stderr));
    }
    Ok(stdout)
}

/// The last lines of `bytes`, bounded, as text.
pub fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(TAIL);
    let text = String::from_utf8_lossy(&bytes[from..]);
    match text.split_once('\n') {
        // The first line may be cut.
        Some((_, rest)) if from > 0 => rest.to_owned(),
        _ => text.into_owned(),
    }
}

/// The command as it would be typed.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_the_end_of_what_it_said() {
        let error =
            output(Command::new("sh").args(["-c", "echo out; echo wrong >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.starts_with("sh -c echo out; echo wrong >&2; exit 3 failed: exit status: 3"), "{error}");
        assert!(error.ends_with("out\nwrong\n"), "{error}");
    }

    #[test]
    fn a_tail_is_bounded_and_begins_with_a_whole_line() {
        let text = "0123456789\n".repeat(1_000);
        let tail = tail(text.as_bytes());
        assert!(tail.len() <= TAIL && tail.len() > TAIL - 11 && tail.starts_with("0123456789\n"));
    }
}
