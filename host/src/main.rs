//! The `host` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::cli::main()
}
