//! Log lines on standard error: plain, or JSON with `--json`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::Global;
use crate::config;
use crate::progress::Stderr;

/// The variable that says in detail what to log, as `RUST_LOG` does elsewhere.
const VARIABLE: &str = "APOGEE_LOG";

pub(super) fn start(global: Global) -> Result<(), config::Error> {
    let filter = match std::env::var(VARIABLE) {
        Ok(directives) => EnvFilter::try_new(&directives).map_err(|error| {
            let shown = super::printable(&directives);
            config::Error::Arguments(format!("{VARIABLE}: \"{shown}\": {error}; write such as \"host=debug\""))
        })?,
        Err(_) => EnvFilter::new(match (global.quiet, global.verbose) {
            (true, _) => "error",
            // `plugin` is what the plugins themselves write.
            (false, 0) => "warn,host=info,plugin=info",
            (false, 1) => "info,host=debug,plugin=debug",
            (false, _) => "trace",
        }),
    };
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr).with_target(global.verbose > 0);
    if global.json {
        // There is one `main`; a second start could only come from a test, and changes nothing.
        let _ = lines.json().flatten_event(true).finish().try_init();
    } else {
        let _ = lines.with_ansi(io::stderr().is_terminal()).finish().try_init();
    }
    Ok(())
}
