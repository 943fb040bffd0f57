//! Counts and aggregates messages, JSON objects, by group and window of event time.
//!
//! Puts out, when a window is over (or on each change), an object with the fields of its group, its aggregates, and
//! `start` and `end` in UTC, or with those that `fields` names, as it names them; its key is made of the group's fields (one: its text, several: a JSON array), or is the key
//! that came in where there are none. The timestamp of a window is its last millisecond, so that it lies in the longer
//! window that a next stage may put it into. Sums of integers are exact; everything else is summed up as floats, in
//! order. The lowest and the highest number keep their digits.
//!
//! Rejected, with the reason: a value that is not one JSON object, a message without a field that is needed, a field
//! that is no number where one is, a message that is too late or too far ahead. A message that `distinct` knows, from whatever
//! group, is counted among the `duplicates` of the window of its own group and in nothing else: a window that has nothing
//! else is put out only where `duplicates` are asked for.
//!
//! Aggregates may be added or left out while it runs: `memory.rs` says what becomes of windows that are open then.

mod counts;
mod group;
mod layout;
mod memory;
mod settings;

use apogee_json::{Kind, Number, Reader, Seen, Token, excerpt};
use apogee_sdk::{Answers, Field, Message, Open, Output, Rejection, State, Stateful, Transform, Windows};

use counts::{Cell, Counts};
use layout::{Column, Layout};
use memory::Memory;
use settings::{Aggregation, Outgoing};
pub use settings::{Emit, Settings};

/// Most windows of an answer.
const ANSWERED: usize = 10_000;

/// The plugin: opened with its [`Settings`].
pub struct WindowCounts {
    settings: Settings,
    outgoing: Vec<Outgoing>,
    /// Whether `duplicates` are asked for.
    duplicates: bool,
    layout: Layout,
    memory: Memory,
    reader: Reader,
    by: Vec<Leaf>,
    distinct: Vec<Leaf>,
    /// The fields whose numbers are aggregated, each once.
    numbers: Vec<Leaf>,
    /// The aggregates that take numbers: which, and of which of the `numbers`.
    cells: Vec<(Aggregation, usize)>,
    /// Of the message at hand.
    values: Vec<(Number, Token)>,
    group: Vec<u8>,
    name: Vec<u8>,
}

/// A field, and where it is among the leaves of the present shape.
struct Leaf {
    name: String,
    leaf: Option<usize>,
}

impl Transform for WindowCounts {
    const NAME: &'static str = "window-counts";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Counts and aggregates messages by group and window of event time.";
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        let windows = Windows::new(settings.frame()?, settings.grace.0, settings.ahead.map(|ahead| ahead.0));
        let windows = windows.map_err(|error| format!("settings: {error}"))?;
        let (mut numbers, mut cells) = (Vec::<String>::new(), Vec::new());
        // All that can be put out, as the settings name it.
        let mut columns: Vec<Column> = (0..settings.by.len()).map(Column::Group).collect();
        for aggregation in &settings.aggregates {
            columns.push(match aggregation {
                Aggregation::Count => Column::Count,
                Aggregation::Duplicates => Column::Duplicates,
                Aggregation::Avg(_) => Column::Average(cells.len()),
                _ => Column::Cell(cells.len()),
            });
            if let Some(field) = aggregation.field() {
                let known = numbers.iter().position(|name| name == field);
                cells.push((aggregation.clone(), known.unwrap_or(numbers.len())));
                if known.is_none() {
                    numbers.push(field.to_owned());
                }
            }
        }
        columns.extend([Column::Start(None), Column::End(None)]);
        let outgoing = settings.outgoing()?;
        let column = |Outgoing { from, name, format }: &Outgoing| {
            let column = match &columns[*from] {
                Column::Start(_) => Column::Start(format.clone()),
                Column::End(_) => Column::End(format.clone()),
                other => other.clone(),
            };
            (name.clone(), column)
        };
        let leaves = |names: &[String]| names.iter().map(|name| Leaf { name: name.clone(), leaf: None }).collect();
        Ok(Self {
            layout: Layout::new(outgoing.iter().map(column), settings.by.len()),
            duplicates: settings.aggregates.contains(&Aggregation::Duplicates),
            outgoing,
            memory: Memory::new(windows, &settings),
            reader: Reader::deep("_"),
            by: leaves(&settings.by),
            distinct: leaves(&settings.distinct),
            numbers: leaves(&numbers),
            cells,
            values: Vec::new(),
            group: Vec::new(),
            name: Vec::new(),
            settings,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let field = |name: &str, kind| Field { name: name.to_owned(), kind, nullable: false };
        let by = self.settings.by.iter().map(|name| field(name, apogee_sdk::Kind::Text));
        // A sum of floats can be more than JSON can say; and what was not asked for before is null in open windows.
        let aggregates = self.settings.aggregates.iter().map(|aggregation| Field {
            nullable: aggregation.field().is_some(),
            ..field(&aggregation.name(), aggregation.kind())
        });
        let edges = ["start", "end"].map(|name| field(name, apogee_sdk::Kind::Timestamp));
        let all: Vec<Field> = by.chain(aggregates).chain(edges).collect();
        let outgoing = |Outgoing { from, name, format }: &Outgoing| {
            let Field { kind, nullable, .. } = all[*from];
            Field { name: name.clone(), kind: if format.is_some() { apogee_sdk::Kind::Text } else { kind }, nullable }
        };
        self.outgoing.iter().map(outgoing).collect()
    }

    /// The group, as it is put out where it is.
    fn key(&self) -> Vec<String> {
        let name = |(place, own): (usize, &String)| {
            let outgoing = self.outgoing.iter().find(|outgoing| outgoing.from == place);
            outgoing.map_or(own, |outgoing| &outgoing.name).clone()
        };
        self.settings.by.iter().enumerate().map(name).collect()
    }

    /// Two messages of one group must come in one partition, and so must two that agree in `distinct`: so the key may have
    /// what is in both. Where nothing is, no key does for both.
    fn groups(&self) -> Vec<String> {
        let Settings { by, distinct, .. } = &self.settings;
        let common: Vec<String> = by.iter().filter(|field| distinct.contains(field)).cloned().collect();
        if common.is_empty() { by.clone() } else { common }
    }

    #[inline]
    fn process(&mut self, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let text = message.value.ok_or("not a JSON object: the value is null")?;
        match self.reader.read(text) {
            Ok(Seen::Same) => {}
            Ok(Seen::New) => self.resolve(),
            Err(error) => return Err(format!("not a JSON object: {error}").into()),
        }
        // All that can be wrong with the message itself is found before it is added.
        self.take(message.key, text)?;
        let Self { settings, duplicates, layout, memory, cells, values, group, name, .. } = self;
        let distinct = !settings.distinct.is_empty();
        memory.windows().add(group, message.timestamp, |window: &mut Open<'_, Counts>| {
            let repeated = distinct && !window.first(name);
            if repeated {
                window.aggregate.duplicates += 1;
            } else {
                add(window.aggregate, cells, values, text);
            }
            if settings.emit == Emit::Change && (!repeated || *duplicates) {
                layout.emit(group, (window.start, window.end), window.aggregate, message.timestamp, out);
            }
        })?;
        self.close(out);
        Ok(())
    }
}

impl Stateful for WindowCounts {
    fn state(&mut self) -> &mut dyn State {
        &mut self.memory
    }

    fn accepts(version: &str) -> bool {
        memory::READS.iter().any(|line| version.starts_with(line))
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) {
        self.memory.windows().advance(watermark);
        self.close(out);
    }
}

impl WindowCounts {
    #[cold]
    fn resolve(&mut self) {
        let Self { reader, by, distinct, numbers, .. } = self;
        for field in by.iter_mut().chain(distinct).chain(numbers) {
            field.leaf = reader.find(&field.name);
        }
    }

    /// Takes from a message what is needed of it.
    #[inline]
    fn take(&mut self, key: Option<&[u8]>, text: &[u8]) -> Result<(), Rejection> {
        let Self { reader, by, distinct, numbers, values, group, name, .. } = self;
        let tokens = reader.tokens();
        group.clear();
        for (index, field) in by.iter().enumerate() {
            group::push(field.token(tokens)?, text, index + 1 == by.len(), group);
        }
        if by.is_empty() {
            group::push_key(key, group);
        }
        values.clear();
        for field in numbers.iter() {
            values.push(field.number(tokens, text)?);
        }
        name.clear();
        for (index, field) in distinct.iter().enumerate() {
            group::push(field.token(tokens)?, text, index + 1 == distinct.len(), name);
        }
        Ok(())
    }

    #[inline]
    fn close(&mut self, out: &mut Output) {
        let Self { settings, duplicates, layout, memory, .. } = self;
        memory.windows().close(|window| {
            if settings.emit == Emit::Close && (window.aggregate.count > 0 || *duplicates) {
                layout.emit(window.key, (window.start, window.end), window.aggregate, window.end - 1, out);
            }
        });
    }
}

impl Leaf {
    #[inline]
    fn token(&self, tokens: &[Token]) -> Result<Token, Rejection> {
        match self.leaf.and_then(|leaf| tokens.get(leaf)) {
            Some(token) if token.kind != Kind::Null => Ok(*token),
            _ => Err(format!("field `{}`: missing or null", self.name).into()),
        }
    }

    #[inline]
    fn number(&self, tokens: &[Token], text: &[u8]) -> Result<(Number, Token), Rejection> {
        let token = self.token(tokens)?;
        let number = token.numeric(text).and_then(|digits| Some((Number::read(digits.raw(text))?, digits)));
        number.ok_or_else(|| format!("field `{}`: {} is not a number", self.name, excerpt(token.raw(text))).into())
    }
}

/// Adds a message to what is counted.
#[inline]
fn add(counts: &mut Counts, cells: &[(Aggregation, usize)], values: &[(Number, Token)], text: &[u8]) {
    let first = counts.count == 0;
    counts.count += 1;
    if first {
        counts.cells.extend(cells.iter().map(|(aggregation, number)| {
            let (number, digits) = values[*number];
            match aggregation {
                Aggregation::Min(_) => Cell::Min(number, digits.raw(text).to_vec()),
                Aggregation::Max(_) => Cell::Max(number, digits.raw(text).to_vec()),
                _ => Cell::sum(),
            }
        }));
    }
    for (cell, (_, number)) in counts.cells.iter_mut().zip(cells) {
        let (number, digits) = values[*number];
        cell.add(number, digits.raw(text));
    }
}

impl Answers for WindowCounts {
    /// The windows that are open, each as it would be put out if it closed now. There is nothing to ask but for all.
    fn ask(&mut self, question: &str) -> Result<String, String> {
        let Self { duplicates, layout, memory, .. } = self;
        let windows = memory.windows();
        if !question.is_empty() {
            return Err("it answers with all windows that are open; leave the question empty".to_owned());
        }
        if windows.open() > ANSWERED {
            return Err(format!("{} windows are open, and {ANSWERED} are the most in an answer", windows.open()));
        }
        let mut json = vec![b'['];
        windows.look(|window| {
            if window.aggregate.count == 0 && !*duplicates {
                return;
            }
            if json.len() > 1 {
                json.push(b',');
            }
            layout.write(window.key, (window.start, window.end), window.aggregate, &mut json);
        });
        json.push(b']');
        // What came in as JSON is UTF-8.
        Ok(String::from_utf8_lossy(&json).into_owned())
    }
}

apogee_sdk::export_aggregator!(WindowCounts);
