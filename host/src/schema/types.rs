//! An Avro record schema, as what is written and read by it: its types as a tree, with the records that it names beside
//! it.
//!
//! Logical types other than `date` and the three `timestamp-…` are what they are made of, as Avro has it for those that
//! a reader does not know: a `decimal` is bytes, a `uuid` a string.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, InnerDecimalSchema, Name, ResolvedSchema, UuidSchema};

use super::misfit::Misfit;
use super::{decode, encode};

/// How deep values may be nested, as in the JSON that plugins read.
pub const DEPTH: usize = apogee_json::DEPTH;

/// A record and all that it holds. The first of the records is the outermost.
#[derive(Debug)]
pub struct Types {
    pub records: Vec<Record>,
}

#[derive(Debug)]
pub struct Record {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    /// The name as JSON has it, with its colon.
    pub key: Vec<u8>,
    /// Other names by which a writer's schema may call it.
    pub aliases: Vec<String>,
    pub kind: Type,
    pub default: Option<DefaultValue>,
}

/// What a field says that is not there.
#[derive(Debug)]
pub struct DefaultValue {
    /// As the schema has it.
    pub written: String,
    /// As it is read.
    pub read: Vec<u8>,
}

#[derive(Debug)]
pub enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// Days since 1970-01-01, an int.
    Date,
    /// Since the Unix epoch, a long.
    Timestamp(Unit),
    /// So many bytes.
    Fixed(usize),
    Enum {
        symbols: Vec<String>,
        default: Option<String>,
    },
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// The index in [`Types::records`].
    Record(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Type {
    /// With its article.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Int => "an int",
            Self::Long => "a long",
            Self::Float => "a float",
            Self::Double => "a double",
            Self::Bytes => "bytes",
            Self::String => "a string",
            Self::Date => "a date",
            Self::Timestamp(_) => "a timestamp",
            Self::Fixed(_) => "a fixed",
            Self::Enum { .. } => "an enum",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Union(_) => "a union",
            Self::Record(_) => "a record",
        }
    }
}

impl Types {
    /// Reads the text of a schema; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Such as the place where it is not JSON.
        let schema = Schema::parse_str(text).map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        if !matches!(schema, Schema::Record(_)) {
            return Err("it is not a record, and messages are".to_owned());
        }
        let resolved = ResolvedSchema::new(&schema).map_err(|error| error.to_string())?;
        let mut building = Building { names: resolved.get_names(), indexes: HashMap::new(), records: Vec::new() };
        building.kind(&schema, None)?;
        let records = building.records.into_iter().flatten().collect();
        Self { records }.with_defaults()
    }

    /// The outermost record.
    pub fn root(&self) -> &Record {
        &self.records[0]
    }

    /// Reads the defaults once, so that one that does not fit is a mistake of the schema and not of a message.
    fn with_defaults(mut self) -> Result<Self, String> {
        for at in 0..self.records.len() {
            for field in 0..self.records[at].fields.len() {
                let Field { name, kind, default, .. } = &self.records[at].fields[field];
                let Some(default) = default else { continue };
                let read = || -> Result<Vec<u8>, Misfit> {
                    let (mut bytes, mut json) = (Vec::new(), Vec::new());
                    encode::value(&self, kind, default.written.as_bytes(), &mut bytes)?;
                    decode::value(&self, kind, &bytes, &mut json)?;
                    Ok(json)
                };
                let read = read().map_err(|misfit| format!("the default of {name}: {misfit}"))?;
                if let Some(default) = &mut self.records[at].fields[field].default {
                    default.read = read;
                }
            }
        }
        Ok(self)
    }
}

struct Building<'a> {
    names: &'a HashMap<Name, &'a Schema>,
    /// Of the records that were met, by their full names.
    indexes: HashMap<Name, usize>,
    /// `None` while its fields are being read.
    records: Vec<Option<Record>>,
}

impl Building<'_> {
    /// `space` is the namespace around it.
    fn kind(&mut self, schema: &Schema, space: Option<&str>) -> Result<Type, String> {
        Ok(match schema {
            Schema::Null => Type::Null,
            Schema::Boolean => Type::Boolean,
            Schema::Int | Schema::TimeMillis => Type::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Type::Long,
            Schema::Float => Type::Float,
            Schema::Double => Type::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Type::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Type::String,
            Schema::Date => Type::Date,
            Schema::TimestampMillis => Type::Timestamp(Unit::Milliseconds),
            Schema::TimestampMicros => Type::Timestamp(Unit::Microseconds),
            Schema::TimestampNanos => Type::Timestamp(Unit::Nanoseconds),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Type::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Type::Fixed(fixed.size),
            },
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                Type::Fixed(fixed.size)
            }
            Schema::Enum(EnumSchema { symbols, default, .. }) => {
                Type::Enum { symbols: symbols.clone(), default: default.clone() }
            }
            Schema::Array(array) => Type::Array(Box::new(self.kind(&array.items, space)?)),
            Schema::Map(map) => Type::Map(Box::new(self.kind(&map.types, space)?)),
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.kind(branch, space));
                Type::Union(branches.collect::<Result<_, _>>()?)
            }
            Schema::Record(_) => Type::Record(self.record(schema, space)?),
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space).into_owned();
                let named = self.names.get(&name).copied().ok_or_else(|| format!("it has no type {name}"))?;
                match named {
                    // Names that stand for names go on for ever.
                    Schema::Ref { .. } => return Err(format!("type {name} is only another name")),
                    Schema::Record(_) => Type::Record(self.record(named, name.namespace())?),
                    named => self.kind(named, name.namespace())?,
                }
            }
        })
    }

    /// The index of a record, which is read where it is met first.
    fn record(&mut self, schema: &Schema, space: Option<&str>) -> Result<usize, String> {
        let Schema::Record(record) = schema else { return Err("it is not a record".to_owned()) };
        let name = record.name.fully_qualified_name(space).into_owned();
        if let Some(&index) = self.indexes.get(&name) {
            return Ok(index);
        }
        let index = self.records.len();
        self.indexes.insert(name.clone(), index);
        self.records.push(None);
        let field = |field: &apache_avro::schema::RecordField| {
            let default = field.default.as_ref();
            let mut key = Vec::new();
            apogee_json::quote(field.name.as_bytes(), &mut key);
            key.push(b':');
            Ok(Field {
                name: field.name.clone(),
                key,
                aliases: field.aliases.clone(),
                kind: self.kind(&field.schema, name.namespace())?,
                default: default.map(|default| DefaultValue { written: default.to_string(), read: Vec::new() }),
            })
        };
        let fields = record.fields.iter().map(field).collect::<Result<_, String>>()?;
        self.records[index] = Some(Record { name: name.name().to_owned(), fields });
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_a_schema_are_told() {
        for (text, said) in [
            ("", "Failed to parse schema from JSON: EOF"),
            ("{}", ""),
            (r#""string""#, "it is not a record, and messages are"),
            (r#"{"type":"record","name":"A","fields":[{"name":"b","type":"B"}]}"#, ""),
            (r#"{"type":"record","name":"A","fields":[{"name":"n","type":"int","default":"x"}]}"#, ""),
            (
                r#"{"type":"record","name":"A","fields":[{"name":"n","type":"int","default":3000000000}]}"#,
                "`default`'s value type of field `n`",
            ),
            (r#"{"type":"record","name":"A","fields":[{"name":"a","type":"A","default":{}}]}"#, ""),
        ] {
            let error = Types::parse(text).map(drop).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_looked_up_in_their_namespace() {
        let text = r#"{"type":"record","name":"A","namespace":"x","fields":[
            {"name":"e","type":{"type":"enum","name":"E","symbols":["P"]}},
            {"name":"b","type":{"type":"record","name":"y.B","fields":[
                {"name":"e","type":"x.E"},{"name":"next","type":["null","B","x.A"]}]}},
            {"name":"again","type":["null","E","y.B"]}]}"#;
        let types = Types::parse(text).unwrap();
        let names: Vec<&str> = types.records.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
        let Type::Union(branches) = &types.records[1].fields[1].kind else { panic!("{types:?}") };
        assert!(matches!(branches[..], [Type::Null, Type::Record(1), Type::Record(0)]), "{branches:?}");
    }
}
