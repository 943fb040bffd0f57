//! What a machine must have before anything is built: named all at once, with the command that gets it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::{command, root};

/// A system package.
#[derive(Clone, Copy)]
pub struct Need {
    what: &'static str,
    debian: &'static str,
    macos: &'static str,
    present: fn() -> bool,
}

/// For the host: librdkafka, OpenSSL and SQLite are C.
pub const HOST: &[Need] = &[
    Need { what: "a C compiler", debian: "gcc", macos: "llvm", present: || program("cc") },
    Need { what: "a C++ compiler", debian: "g++", macos: "llvm", present: || program("c++") },
    Need { what: "make", debian: "make", macos: "make", present: || program("make") },
    Need { what: "pkg-config", debian: "pkg-config", macos: "pkgconf", present: || program("pkg-config") },
    Need { what: "OpenSSL's headers", debian: "libssl-dev", macos: "openssl@3", present: openssl_headers },
    Need { what: "zlib's headers", debian: "zlib1g-dev", macos: "zlib", present: zlib_headers },
];

/// For the plugin in JavaScript.
pub const NODE: &[Need] = &[
    Need {
        what: "Node 20 or newer",
        debian: "nodejs",
        macos: "node",
        present: || version("node", "--version") >= Some(20),
    },
    Need { what: "npm", debian: "npm", macos: "node", present: || program("npm") },
];

/// For a Kafka broker.
pub const KAFKA: &[Need] = &[
    Need {
        what: "Java 17 or newer",
        debian: "openjdk-17-jdk-headless",
        macos: "openjdk@17",
        present: || version("java", "-version") >= Some(17),
    },
    Need { what: "Maven", debian: "maven", macos: "maven", present: || program("mvn") },
];

/// For certificates that tests make.
pub const OPENSSL: &[Need] =
    &[Need { what: "the openssl program", debian: "openssl", macos: "openssl@3", present: || program("openssl") }];

/// For tests that let system calls fail; other systems go without them.
pub const STRACE: &[Need] = &[Need {
    what: "strace",
    debian: "strace",
    macos: "strace",
    present: || cfg!(not(target_os = "linux")) || program("strace"),
}];

/// For the readers of files and tables that tests compare with, unless `APOGEE_PYTHON` has them.
pub const PYTHON: &[Need] =
    &[Need { what: "Python 3.10 or newer with venv", debian: "python3-venv", macos: "python", present: python }];

/// For an S3 service, where there is none yet.
pub const MINIO: &[Need] = &[Need {
    what: "Go 1.24 or newer, or a MinIO named in the variable MINIO",
    debian: "golang",
    macos: "go",
    present: || xtask::minio::is_there() || program("go"),
}];

/// An error that names everything of `needs` that is missing.
pub fn check(needs: &[&[Need]]) -> Result<()> {
    let missing: Vec<Need> =
        needs.iter().flat_map(|needs| needs.iter()).filter(|need| !(need.present)()).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", advice(&missing))
}

/// Adds the target that plugins are built for to the toolchain of this folder.
pub fn wasm_target(target: &str) -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(root());
    let folder = command::output(&mut rustc)?;
    if Path::new(String::from_utf8_lossy(&folder).trim()).exists() {
        return Ok(());
    }
    if !program("rustup") {
        bail!(
            "Rust's target {target} is missing, and so is rustup, which would add it; \
             get rustup from https://rustup.rs, or install the target as your Rust was installed"
        );
    }
    eprintln!("adding Rust's target {target}");
    command::run(Command::new("rustup").args(["target", "add", target]).current_dir(root()))
        .with_context(|| format!("Rust's target {target} cannot be added"))
}

/// Whether `name` is on the PATH.
pub fn program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

fn advice(missing: &[Need]) -> String {
    let list = |name: fn(&Need) -> &'static str| {
        let mut names = Vec::new();
        for name in missing.iter().map(name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(" ")
    };
    let what: Vec<_> = missing.iter().map(|need| need.what).collect();
    format!(
        "missing on this machine: {}\n  Debian, Ubuntu:  sudo apt-get install {}\n  macOS:           brew install {}",
        what.join(", "),
        list(|need| need.debian),
        list(|need| need.macos),
    )
}

fn package(name: &str) -> bool {
    command::output(Command::new("pkg-config").args(["--exists", name])).is_ok()
}

fn openssl_headers() -> bool {
    let homebrew = ["/opt/homebrew/opt/openssl@3/include", "/usr/local/opt/openssl@3/include"];
    std::env::var_os("OPENSSL_DIR").is_some()
        || package("openssl")
        || homebrew.iter().any(|path| Path::new(path).exists())
}

fn zlib_headers() -> bool {
    // On macOS they come with the compiler.
    cfg!(target_os = "macos") || package("zlib")
}

fn python() -> bool {
    let probe = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))";
    let named = std::env::var_os("APOGEE_PYTHON").is_some_and(|python| !python.is_empty());
    named || command::output(Command::new("python3").args(["-c", probe])).is_ok()
}

fn version(program: &str, flag: &str) -> Option<u32> {
    let out = Command::new(program).arg(flag).output().ok()?;
    major(&format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

/// The first number in what a program says of its version: `v20.1.0`, `openjdk version "17.0.15" 2025-04-15`.
fn major(said: &str) -> Option<u32> {
    let from = said.find(|c: char| c.is_ascii_digit())?;
    said[from..].split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_say_them() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(major("no such thing"), None);
        assert_eq!(version("no-such-program", "--version"), None);
    }

    #[test]
    fn what_is_missing_is_named_once_with_its_commands() {
        assert_eq!(
            advice(&[HOST[0], KAFKA[0], HOST[1]]),
            "missing on this machine: a C compiler, Java 17 or newer, a C++ compiler\n  \
             Debian, Ubuntu:  sudo apt-get install gcc openjdk-17-jdk-headless g++\n  \
             macOS:           brew install llvm openjdk@17"
        );
    }

    #[test]
    fn programs_are_looked_up_on_the_path() {
        assert!(program("sh") && !program("no-such-program"));
    }
}
