//! A plugin that misbehaves as it is told, for the host's tests: each of the host's limits and checks has
//! a setting here that runs into it.
//!
//! It is written against the bare interface, without the SDK, so that it can lie. `{"how": "echo"}` behaves
//! well, to compare with; with `"keep": true` it does so with state. `"marked": true` makes poison of single messages.
//! Settings are in `settings.rs`.

wit_bindgen::generate!({ path: "../../wit", world: "aggregator" });

mod count;
mod keep;
mod lie;
mod look;
mod settings;
mod take;

use std::cell::Cell;

use apogee::plugin::messages::{Batch, Output};
use exports::apogee::plugin::state::Entries;
use exports::apogee::plugin::transform::{Description, Field, Kind, Opened};
use exports::apogee::plugin::{query, state, timer, transform};
use settings::{How, SCHEMA, Settings};

std::thread_local! {
    static SETTINGS: Cell<Settings> =
        const { Cell::new(Settings { how: How::Echo, count: None, marked: false, keep: false }) };
}

/// Misbehaves as its settings say.
pub struct Hostile;

impl transform::Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: env!("CARGO_PKG_DESCRIPTION").to_owned(),
            settings: SCHEMA.to_owned(),
        }
    }

    fn open(settings: String) -> Result<Opened, String> {
        let settings: Settings = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        SETTINGS.set(settings);
        match settings.how {
            How::LoopInOpen => take::time(),
            How::TrapInOpen => panic!("it does not open"),
            How::BadFields => Ok(opened((0..settings.count_or(10_001)).map(|i| field(format!("field{i}"))).collect())),
            How::DuplicateFields => Ok(opened(["\u{1b}[31mred"; 2].map(|name| field(name.to_owned())).into())),
            _ => Ok(opened(Vec::new())),
        }
    }

    fn process(batch: Batch) -> Output {
        let settings = SETTINGS.get();
        let count = |default| settings.count_or(default);
        if settings.marked && !count::is_marked(&batch) {
            return behave(batch, settings);
        }
        match settings.how {
            How::LoopInProcess => take::time(),
            How::Allocate => take::memory(),
            How::Recurse => lie::note(take::stack(1), batch),
            How::Trap => panic!("the plugin said so"),
            How::Abort => std::process::abort(),
            How::HoardHandles => take::handles(),
            How::HoardStreams => take::streams(),
            How::HoardRandom => lie::note(take::random(count(u64::MAX)), batch),
            How::LogFlood => take::log(count(10_000_000), batch),
            How::LengthsTooLong => lie::with(batch, |output| lie::lengthen(output, 1_000_000)),
            How::LengthsNegative => lie::with(batch, |output| output.messages.values.lengths.fill(-2)),
            How::LengthsShort => lie::with(batch, |output| lie::lengthen(output, -1)),
            How::ColumnsUneven => lie::with(batch, |output| output.messages.timestamps.clear()),
            How::HeadersOutOfRange => lie::with(batch, lie::header_of_nothing),
            How::OriginsOutOfRange => lie::with(batch, |output| output.origins.fill(u32::MAX)),
            How::OriginsMissing => lie::with(batch, |output| output.origins.clear()),
            How::Reject => count::reject(behave(batch, settings), count(1)),
            How::RejectedOutOfRange => lie::with(batch, |output| lie::reject(output, &[u32::MAX], "out of range")),
            How::RejectedTwice => lie::with(batch, |output| lie::reject(output, &[0, 0], "twice")),
            How::GiantReason => {
                let reason = "\u{1b}[31mgiant ".repeat(count(1 << 20) as usize);
                lie::with(batch, |output| lie::reject(output, &[0], &reason))
            }
            How::MillionMessages => lie::many(count(1_000_000)),
            How::GiantOutput => lie::giant(count(1 << 30)),
            How::ClockRandomEnv => lie::note(look::around(), batch),
            _ => behave(batch, settings),
        }
    }
}

impl timer::Guest for Hostile {
    fn advance(_watermark: i64) -> Output {
        let settings = SETTINGS.get();
        let without_origins = |count| Output { origins: Vec::new(), ..lie::many(count) };
        match settings.how {
            How::LoopInAdvance => take::time(),
            How::TrapInAdvance => panic!("the time is not right"),
            How::MillionInAdvance => without_origins(settings.count_or(1_000_000)),
            How::OriginsInAdvance => lie::many(1),
            _ => without_origins(0),
        }
    }
}

impl state::Guest for Hostile {
    fn changes() -> Entries {
        let settings = SETTINGS.get();
        match settings.how {
            How::LoopInChanges => take::time(),
            How::TrapInChanges => panic!("nothing ever changes"),
            How::ChangesTooLong => keep::entries(&[1_000_000], &[-1], 1),
            How::ChangesUneven => keep::entries(&[1, 0], &[-1], 1),
            How::ChangesWithoutKey => keep::entries(&[-1], &[-1], 0),
            How::ChangesWithoutEnd => {
                let bytes = settings.count_or(1 << 20);
                keep::entries(&[i32::try_from(bytes).unwrap_or(i32::MAX)], &[-1], bytes as usize)
            }
            How::NothingWithoutEnd => keep::entries(&[0], &[-1], 0),
            _ => count::changes(),
        }
    }

    fn restore(_version: String, entries: Entries) -> Result<(), String> {
        match SETTINGS.get().how {
            How::LoopInRestore => take::time(),
            How::TrapInRestore => panic!("the state is not to my taste"),
            How::RefuseState => Err("\u{1b}[31mnot mine".to_owned()),
            _ => count::restore(&entries),
        }
    }
}

impl query::Guest for Hostile {
    fn ask(question: String) -> Result<String, String> {
        match question.as_str() {
            "loop" => take::time(),
            "trap" => panic!("a question too many"),
            "giant" => Ok("x".repeat(SETTINGS.get().count_or(128 << 20) as usize)),
            "no json" => Ok("\u{1b}[31mnot json".to_owned()),
            _ => Err("\u{1b}[31mno comment".to_owned()),
        }
    }
}

/// What is put out where nothing is wrong.
fn behave(batch: Batch, settings: Settings) -> Output {
    if settings.keep { count::put_out(batch) } else { lie::echo(batch) }
}

fn opened(fields: Vec<Field>) -> Opened {
    Opened { fields, key: Vec::new(), groups: Vec::new() }
}

fn field(name: String) -> Field {
    Field { name, kind: Kind::Text, nullable: true }
}

// Native linkers do not take the names of a component's exports.
#[cfg(target_family = "wasm")]
export!(Hostile);
