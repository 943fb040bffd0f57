//! Makes an event of each row of OpenFlights' `routes.dat`: a JSON array of nine texts, as the host reads them from a CSV
//! file without header, becomes an object with `id`, `datetime` and the nine columns by their names.
//!
//! `\N` is OpenFlights' null. Ids and stops are integers of 32 bits, `codeshare` is a boolean, the rest is text. The `id`
//! is a UUID (RFC 9562, version 8) made of the setting `namespace` and of where the row comes from: it looks random, and
//! is the same again when the row is read again. `datetime` is the time of the message, which for a file is when that was
//! last changed. The key of the message is kept.
//!
//! Rejected, with the reason: what is no such array, an id that is null or no integer, stops that are none, and a
//! codeshare that is neither `Y` nor empty. A null in another column is put out as null.

use std::borrow::Cow;
use std::fmt::Display;

use apogee_sdk::{Field, Kind, Message, Output, Position, Positioned, Rejection, Transform};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// How OpenFlights writes that there is no value.
const NULL: &str = "\\N";

/// The settings of a pipeline file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the ids are of, such as the name of the file: rows of two places that are in the same position get different
    /// ids where this differs.
    #[serde(default)]
    pub namespace: String,
}

/// The plugin: opened with its [`Settings`].
pub struct Routes {
    /// What the ids are made from, with the namespace taken in.
    seed: Xxh3,
}

/// The columns of a row, in order.
#[derive(Deserialize)]
struct Row<'a>(#[serde(borrow)] [Text<'a>; 9]);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is put out.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(serialize_with = "text")]
    id: Uuid,
    #[serde(serialize_with = "text")]
    datetime: Timestamp,
    airline: Option<&'a str>,
    airline_id: i32,
    source_airport: Option<&'a str>,
    source_airport_id: i32,
    destination_airport: Option<&'a str>,
    destination_airport_id: i32,
    codeshare: bool,
    stops: i32,
    equipment: Option<&'a str>,
}

impl Transform for Routes {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Makes events of the rows of OpenFlights' routes.";
    type Settings = Settings;

    fn open(settings: Settings) -> Result<Self, String> {
        let mut seed = Xxh3::new();
        seed.update(&(settings.namespace.len() as u64).to_le_bytes());
        seed.update(settings.namespace.as_bytes());
        Ok(Self { seed })
    }

    fn fields(&self) -> Vec<Field> {
        let field = |(name, kind, nullable): (&str, Kind, bool)| Field { name: name.to_owned(), kind, nullable };
        let fields = [
            ("id", Kind::Text, false),
            ("datetime", Kind::Timestamp, false),
            ("airline", Kind::Text, true),
            ("airline_id", Kind::Integer, false),
            ("source_airport", Kind::Text, true),
            ("source_airport_id", Kind::Integer, false),
            ("destination_airport", Kind::Text, true),
            ("destination_airport_id", Kind::Integer, false),
            ("codeshare", Kind::Boolean, false),
            ("stops", Kind::Integer, false),
            ("equipment", Kind::Text, true),
        ];
        fields.map(field).into()
    }

    fn process(&mut self, _: Message<'_>, _: &mut Output) -> Result<(), Rejection> {
        Err("the host does not say where messages come from, of which ids are made".into())
    }
}

impl Positioned for Routes {
    fn process_at(&mut self, position: Position, message: Message<'_>, out: &mut Output) -> Result<(), Rejection> {
        let text = message.value.ok_or("not a row: the value is null")?;
        let Row(columns) = serde_json::from_slice(text).map_err(|error| format!("not a row of nine texts: {error}"))?;
        let column = |number: usize| Some(columns[number].0.as_ref()).filter(|text| *text != NULL);
        let event = Event {
            id: self.id(position),
            datetime: Timestamp::from_millisecond(message.timestamp).map_err(|error| error.to_string())?,
            airline: column(0),
            airline_id: integer("airline_id", column(1))?,
            source_airport: column(2),
            source_airport_id: integer("source_airport_id", column(3))?,
            destination_airport: column(4),
            destination_airport_id: integer("destination_airport_id", column(5))?,
            codeshare: codeshare(column(6))?,
            stops: integer("stops", column(7))?,
            equipment: column(8),
        };
        serde_json::to_writer(out.value(), &event).map_err(|error| error.to_string())?;
        for header in message.headers {
            out.header(&header.name, &header.value);
        }
        out.emit(message.key, message.timestamp);
        Ok(())
    }
}

impl Routes {
    fn id(&self, Position { partition, offset, part }: Position) -> Uuid {
        let mut hash = self.seed.clone();
        hash.update(&partition.to_le_bytes());
        hash.update(&offset.to_le_bytes());
        hash.update(&part.to_le_bytes());
        uuid::Builder::from_custom_bytes(hash.digest128().to_be_bytes()).into_uuid()
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn integer(name: &str, text: Option<&str>) -> Result<i32, Rejection> {
    let text = text.ok_or_else(|| format!("{name} is null"))?;
    text.parse().map_err(|_| format!("{name}: {} is no integer of 32 bits", shown(text)).into())
}

fn codeshare(text: Option<&str>) -> Result<bool, Rejection> {
    match text {
        Some("Y") => Ok(true),
        None | Some("") => Ok(false),
        Some(text) => Err(format!("codeshare: {} is neither \"Y\" nor empty", shown(text)).into()),
    }
}

/// The start of a text, quoted.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

apogee_sdk::export_positioned!(Routes);
