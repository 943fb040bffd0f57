//! What an operator does to a running host: the program's own commands, where the host runs.

use std::path::Path;

use host::control::api::{Answer, PipelineStatus, Status};
use host::swap::Outcome;

use crate::program::{host, plugin, wait_for};

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// What a swap came to.
#[derive(Debug)]
pub struct Swapped {
    pub code: i32,
    pub outcome: Option<Outcome>,
    /// What was told on standard error.
    pub told: String,
}

/// Runs a command of the program to its end.
pub fn call(directory: &Path, arguments: &[&str]) -> Said {
    let output = host(directory, arguments).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// `host swap PIPELINE NEW.wasm` with these further arguments.
pub fn swap(directory: &Path, pipeline: &str, component: &Path, more: &[&str]) -> Swapped {
    let component = component.to_str().expect("UTF-8");
    let said = call(directory, &[&["swap", pipeline, component, "--json"], more].concat());
    swapped(&said)
}

/// The answer of `host swap --json` or `host promote --json`.
pub fn swapped(said: &Said) -> Swapped {
    let answer = said.out.lines().find_map(|line| serde_json::from_str::<Answer>(line).ok());
    let outcome = answer.and_then(|answer| answer.outcome);
    Swapped { code: said.code, outcome, told: said.err.clone() }
}

/// The same with a component of this project, which must take the place of the one at work. Gives the microseconds
/// for which the stream stood still.
pub fn adopts(directory: &Path, pipeline: &str, name: &str, more: &[&str]) -> u64 {
    let swapped = swap(directory, pipeline, &plugin(name), more);
    match swapped.outcome {
        Some(Outcome::Adopted { pause, .. }) if swapped.code == 0 => pause,
        _ => panic!("a swap of {pipeline} to {name} came to {swapped:?}"),
    }
}

/// Every pipeline of that name that answers: a line of pipelines has several.
pub fn line(directory: &Path, pipeline: &str) -> Vec<PipelineStatus> {
    let said = call(directory, &["status", pipeline, "--json"]);
    let answers = said.out.lines().filter_map(|line| serde_json::from_str::<Status>(line).ok());
    answers.flat_map(|status| status.pipelines).filter(|status| status.of == pipeline).collect()
}

/// The only pipeline of that name, once it answers and all of so many partitions have been taken.
pub fn status(directory: &Path, pipeline: &str, partitions: usize) -> PipelineStatus {
    wait_for("the pipeline to tell how it stands", || {
        line(directory, pipeline).pop().filter(|status| status.tasks.len() == partitions)
    })
}
