//! What is kept: the windows, and under which settings they were filled, so that other settings can go on from there.
//!
//! Other aggregates, grace, `ahead` and `emit` may be asked for at any time. What an open window was not asked for before
//! stays unknown in it, and is put out as null: a part of it would look like the whole. Windows that begin later have it.
//! Other windows, other groups and another `distinct` are refused, because what is kept is cut by them.
//!
//! Until version 0.2 each group knew by itself which messages it had seen. What any of them knew, all know from then on.
//! Version 0.1 did not keep its settings. From its state the aggregates go on that stand where there were some of their
//! kind (those that were, with new ones after them, are meant); which windows, groups and fields they were of is believed.

use apogee_sdk::{Part, State, Unreadable, Value, Windows};
use serde::{Deserialize, Serialize};

use crate::counts::{Cell, Counts};
use crate::settings::{Aggregation, Settings};

/// The key of the entry that says so; no window's begins with it.
const FORM: &[u8] = b"f";

/// Version 0.1 keeps no form. It is still built, for the tests of those that go on from its state.
const KEEPS_FORM: bool = !matches!(env!("CARGO_PKG_VERSION_MINOR").as_bytes(), b"1");

/// The versions whose state it takes back begin so.
pub const READS: &[&str] = if KEEPS_FORM { &["0.1.", "0.2.", "0.3."] } else { &["0.1."] };

/// All that the plugin remembers.
pub struct Memory {
    windows: Windows<Counts>,
    /// What the settings say.
    own: Form,
    /// Under what was filled that was taken back; `None` where it does not say.
    before: Option<Form>,
    /// Whether the windows are as `own` says.
    settled: bool,
    /// Whether the host keeps `own`.
    told: bool,
}

/// Under which settings windows were filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Form {
    /// The lengths of window, slide and session, in milliseconds.
    frame: [Option<i64>; 3],
    by: Vec<String>,
    distinct: Vec<String>,
    /// What each cell is, and of which field.
    cells: Vec<(Kind, String)>,
}

/// What a cell is. An average is a sum that is put out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sum,
    Min,
    Max,
}

impl Kind {
    fn of(aggregation: &Aggregation) -> Self {
        match aggregation {
            Aggregation::Min(_) => Self::Min,
            Aggregation::Max(_) => Self::Max,
            _ => Self::Sum,
        }
    }

    fn is_of(self, cell: &Cell) -> bool {
        match cell {
            Cell::Sum { .. } => self == Self::Sum,
            Cell::Min(..) => self == Self::Min,
            Cell::Max(..) => self == Self::Max,
            Cell::Unknown => true,
        }
    }
}

impl Value for Form {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let json = serde_json::to_vec(self).expect("numbers and strings are JSON");
        bytes.extend_from_slice(&json);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Memory {
    pub fn new(windows: Windows<Counts>, settings: &Settings) -> Self {
        let length = |length: Option<crate::settings::Length>| length.map(|length| length.0);
        let cell = |aggregation: &Aggregation| Some((Kind::of(aggregation), aggregation.field()?.to_owned()));
        let own = Form {
            frame: [length(settings.window), length(settings.slide.or(settings.window)), length(settings.session)],
            by: settings.by.clone(),
            distinct: settings.distinct.clone(),
            cells: settings.aggregates.iter().filter_map(cell).collect(),
        };
        Self { windows, own, before: None, settled: true, told: false }
    }

    /// The windows, as the settings say.
    #[inline]
    pub fn windows(&mut self) -> &mut Windows<Counts> {
        if !self.settled {
            self.settle();
        }
        &mut self.windows
    }

    /// Gives the cells of what was taken back the places that they have now.
    #[cold]
    fn settle(&mut self) {
        self.settled = true;
        let Self { windows, own, before, .. } = self;
        // From here on they are as they are to be.
        let before = before.replace(own.clone());
        let own = &own.cells;
        match before {
            Some(before) if before.cells == *own => {}
            Some(before) => {
                let place = |cell| before.cells.iter().position(|it| it == cell);
                let places: Vec<_> = own.iter().map(place).collect();
                windows.convert(|counts| counts.arrange(&places));
            }
            None => windows.convert(|counts| {
                let fits = counts.cells.iter().zip(own).all(|(cell, (kind, _))| kind.is_of(cell));
                let known = if fits { counts.cells.len() } else { 0 };
                let places: Vec<_> = (0..own.len()).map(|cell| (cell < known).then_some(cell)).collect();
                counts.arrange(&places)
            }),
        }
    }

    fn take_form(&mut self, value: Option<&[u8]>) -> Result<(), Unreadable> {
        let form = value.map(|value| Form::decode(value).ok_or(Unreadable::Foreign)).transpose()?;
        if let Some(form) = &form {
            let Form { frame, by, distinct, .. } = &self.own;
            for (name, differs) in [
                ("`window`, `slide` or `session`", form.frame != *frame),
                ("`by`", form.by != *by),
                ("`distinct`", form.distinct != *distinct),
            ] {
                if differs {
                    return Err(Unreadable::Refused(format!("its windows were cut by another {name}")));
                }
            }
        }
        self.told = form.as_ref() == Some(&self.own);
        self.before = form;
        Ok(())
    }
}

impl State for Memory {
    fn changes(&mut self, part: &mut Part) {
        if KEEPS_FORM && !self.told {
            self.told = true;
            part.push(&[], FORM, Some(&self.own));
        }
        self.windows().changes(part);
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, other: Option<&str>) -> Result<(), Unreadable> {
        self.settled = false;
        if key == FORM { self.take_form(value) } else { self.windows.restore(key, value, other) }
    }
}
