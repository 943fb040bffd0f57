//! The host as its user runs it: a pipeline file in a directory of its own.

use std::path::Path;
use std::process::Command;

/// A run of `pipeline` (the text of its file, where `{plugins}` is the folder of the components) to the end of its
/// source.
pub fn run(directory: &Path, pipeline: &str, arguments: &[&str]) -> Command {
    let file = directory.join("bench.toml");
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    std::fs::write(&file, pipeline.replace("{plugins}", plugins.to_str().expect("UTF-8"))).expect("a pipeline file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.arg("--quiet").arg("run").arg(file).args(arguments).current_dir(directory);
    command
}

/// A run from a topic to its end, through `flatten` with these fields, to a sink.
pub fn flatten(directory: &Path, broker: &str, topic: &str, group: &str, fields: &[&str], sink: &str) -> Command {
    let fields = fields.join(",\n    ");
    let pipeline = format!(
        r#"
[source]
uri = "kafka://{broker}/{topic}"
group = "{group}"
until = "end"

[[plugin]]
file = "{{plugins}}/flatten.wasm"
[plugin.settings]
event_time = {{ field = "timestamp", unit = "s" }}
fields = [
    {fields}
]

[sink]
uri = "{sink}"
"#
    );
    run(directory, &pipeline, &[])
}
