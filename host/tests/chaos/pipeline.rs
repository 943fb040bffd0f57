//! The pipeline files of the scenarios.

use std::path::Path;

use crate::program::plugin;

/// What is done to the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// One row for each message.
    Flatten,
    /// Windows as in `reference.rs`, each put out once, when it closes.
    Windows,
    /// The first message of each id, because none after it is higher; so the state grows with every id.
    Highest,
    /// Each message with the version that made it, and how many of its key there were.
    Stamp,
}

/// Columns of each kind of row, in their order.
pub const FLAT: [&str; 5] = ["number", "id", "group", "reading_value", "reading_check"];
pub const COUNTED: [&str; 8] =
    ["group", "count", "sum_reading_value", "min_reading_value", "max_reading_value", "duplicates", "start", "end"];

#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub work: Work,
    /// URIs of what it reads, where it writes, and where dead letters go.
    pub from: String,
    pub to: String,
    pub letters: String,
    pub workers: u32,
    pub batch: u32,
    /// Further lines of `[sink]`, and of `[plugin.limits]`.
    pub sink: String,
    pub limits: String,
    /// Further tables.
    pub tables: String,
    /// librdkafka settings.
    pub client: Vec<(&'static str, &'static str)>,
}

impl Pipeline {
    /// Puts `NAME.toml`, which runs until it is stopped, into a directory, and `end.toml`, which is the same pipeline
    /// in a last run: to the end of its input, where every window closes.
    pub fn write(&self, directory: &Path) {
        std::fs::write(directory.join(self.file()), self.text("")).expect("a pipeline file");
        let end = self.text("until = \"end\"\nclose = true\n");
        std::fs::write(directory.join("end.toml"), end).expect("a pipeline file");
    }

    pub fn file(&self) -> String {
        format!("{}.toml", self.name)
    }

    fn text(&self, until: &str) -> String {
        let Self { name, from, to, letters, workers, batch, sink, limits, tables, .. } = self;
        let client: String = self.client.iter().map(|(key, value)| format!("{key:?} = {value:?}\n")).collect();
        // By the clock event time would go on otherwise in each run.
        format!(
            "name = {name:?}\nworkers = {workers}\ndead_letters = {letters:?}\n\
             [source]\nuri = {from:?}\nbatch = {batch}\nidle = \"1h\"\n{until}\
             [client]\n{client}\
             [[plugin]]\n{}[plugin.limits]\n{limits}\
             [sink]\nuri = {to:?}\n{sink}{tables}",
            self.plugin()
        )
    }

    fn plugin(&self) -> String {
        match self.work {
            Work::Flatten => {
                let kinds = ["integer", "integer", "text", "integer", "text"];
                let field = |(name, kind): (&str, &str)| format!("{{ from = {name:?}, type = {kind:?} }}");
                let fields: Vec<String> = FLAT.into_iter().zip(kinds).map(field).collect();
                format!("file = {:?}\n[plugin.settings]\nfields = [{}]\n", plugin("flatten"), fields.join(", "))
            }
            Work::Windows => format!(
                "file = {:?}\n[plugin.settings]\nwindow = \"10s\"\ngrace = \"2s\"\nby = [\"group\"]\ndistinct = [\"id\"]\n\
                 aggregates = [\"count\", \"sum(reading_value)\", \"min(reading_value)\", \"max(reading_value)\", \
                 \"duplicates\"]\n",
                plugin("window-counts")
            ),
            Work::Highest => format!(
                "file = {:?}\n[plugin.settings]\nfield = \"reading_value\"\nby = [\"id\"]\n",
                plugin("max-altitude")
            ),
            Work::Stamp => format!("file = {:?}\nsettings.id = \"number\"\n", plugin("stamp-1")),
        }
    }
}
