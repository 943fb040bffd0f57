//! The command line: what was typed, and which command does it.
//!
//! Results go to standard output; log lines, progress, summaries and errors to standard error.

mod check;
mod compile;
mod control;
mod dead;
mod inspect;
mod logging;
mod replay;
mod run;
mod simulate;
mod status;
mod stream;
mod swap;
mod topics;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::text::excerpt;
use crate::error::{Fault, is_broken_pipe};

const EXAMPLES: &str = "\
Examples:
  host --plugin plugins/flatten.wasm --from sim:iss
      The simulated ISS, flattened, to standard output: no network, no Kafka
  host --plugin plugins/flatten.wasm --via kafka://localhost:9092/iss --to kafka://localhost:9092/flat --for 95m
      The real ISS for one orbit, kept in Kafka as it was polled and as it was flattened
  host --plugin plugins/flatten.wasm --from file:log.jsonl --to kafka:///flat --set separator=.
      A file into a topic of the embedded log, with a setting of the plugin
  host --plugin plugins/flatten.wasm --from kafka://localhost:9092/iss --to kafka://localhost:9092/flat --workers 4
      Four threads share the partitions of a topic; exactly once, because both topics are in one cluster
  host --plugin plugins/max-altitude.wasm --from delta:out/iss-bronze --set field=altitude
      The rows of a Delta table, as it grows
  host run pipelines/iss-csv.toml
      A pipeline file; more are beside it: a lake on S3, Delta tables, schemas, queries over HTTP

Exit codes: 0 fine, 1 failed while running, 2 wrong configuration, 3 something outside is missing
(a broker, a service, a disk, a file).";

/// Moves messages from a source, through sandboxed WebAssembly plugins, to a sink.
#[derive(Debug, Parser)]
#[command(name = "host", version, after_help = EXAMPLES, subcommand_negates_reqs = true, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    stream: Option<stream::Stream>,
    #[command(flatten)]
    listen: Option<control::Listen>,
    #[command(flatten)]
    global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Copy, Args)]
struct Global {
    /// Log lines, the closing summary, results and errors as JSON; no progress line
    #[arg(long, global = true)]
    json: bool,
    /// Only errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More log lines; twice for all of them. APOGEE_LOG (such as host=debug) says it in detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run pipeline files
    Run(run::Run),
    /// Say what pipeline files would do, without doing it
    Check(check::Check),
    /// Show what the hosts of this machine run
    Status(status::Status),
    /// Put another version of a plugin in the place of the one that runs
    Swap(swap::Swap),
    /// Show how a new version compares with the one that runs
    #[command(after_help = "Examples:\n  host canary iss-csv\n  host canary iss-csv --json")]
    Canary(swap::OfCanary),
    /// Swap in the version of the canary
    Promote(swap::Promote),
    /// End the canary
    #[command(after_help = "Examples:\n  host drop iss-csv\n  host drop iss-csv --json")]
    Drop(swap::OfCanary),
    /// Process no more messages of a pipeline, until it is resumed
    #[command(after_help = "Examples:\n  host pause iss-csv\n  host pause iss-csv --json")]
    Pause(status::Pause),
    /// Let a paused pipeline go on
    #[command(after_help = "Examples:\n  host resume iss-csv\n  host resume iss-csv --json")]
    Resume(status::Pause),
    /// Look at plugins
    #[command(subcommand)]
    Plugin(inspect::Plugin),
    /// Compare two versions of a plugin on messages that were kept, or put a dead letter through again
    Replay(replay::Replay),
    /// Look at dead letters
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Look at topics of the embedded log and of Kafka
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Serve a simulated feed over HTTP
    #[command(subcommand)]
    Simulate(simulate::Simulate),
    /// Compile a component from standard input into the cache, for a host that was handed one
    #[command(hide = true)]
    Compile(compile::Compile),
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let json = cli.global.json;
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(error) => refuse(&error),
            Err(error) => {
                report(&error, json);
                ExitCode::from(Fault::of(&error).code())
            }
        },
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    logging::start(cli.global)?;
    let Some(command) = cli.command else {
        return match cli.stream {
            Some(stream) => stream.run(&cli.listen.unwrap_or_default(), cli.global),
            None => Err(Cli::command().error(ErrorKind::MissingRequiredArgument, "--plugin is missing").into()),
        };
    };
    if cli.stream.is_some() || cli.listen.is_some() {
        let what = "options of a run without a file stand before a command; put those that the command takes after it";
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, what).into());
    }
    match command {
        Command::Run(command) => command.run(cli.global),
        Command::Check(command) => command.run(cli.global),
        Command::Status(command) => command.run(cli.global),
        Command::Swap(command) => command.run(cli.global),
        Command::Canary(command) => command.report(cli.global),
        Command::Promote(command) => command.run(cli.global),
        Command::Drop(command) => command.end(cli.global),
        Command::Pause(command) => command.run(true, cli.global),
        Command::Resume(command) => command.run(false, cli.global),
        Command::Plugin(command) => command.run(cli.global),
        Command::Replay(command) => command.run(cli.global),
        Command::Dead(command) => command.run(cli.global),
        Command::Topics(command) => command.run(cli.global),
        Command::Simulate(command) => command.run(),
        Command::Compile(command) => command.run(),
    }
}

/// What clap has to say: help on standard output, or a mistake on standard error.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        error_line(&serde_json::json!({ "error": text, "code": error.exit_code() }).to_string());
    } else {
        // Nobody is left to tell when the terminal is gone.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Fault::Configuration.code()))
}

/// Tells an error with everything that led to it.
fn report(error: &anyhow::Error, json: bool) {
    let code = Fault::of(error).code();
    if json {
        error_line(&serde_json::json!({ "error": format!("{error:#}"), "code": code }).to_string());
    } else {
        error_line(&format!("error: {error:#}"));
    }
}

/// The worse of two errors, to be returned; the other one is told here.
fn worse(other: Option<anyhow::Error>, error: anyhow::Error, json: bool) -> anyhow::Error {
    let Some(other) = other else { return error };
    let (told, kept) = if Fault::of(&error) > Fault::of(&other) { (other, error) } else { (error, other) };
    report(&told, json);
    kept
}

fn error_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A text of a plugin or a network peer, fit for a terminal.
fn printable(text: &str) -> String {
    excerpt(text, 400)
}
