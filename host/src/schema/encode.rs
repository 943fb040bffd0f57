//! JSON as plugins write it, checked by an Avro schema and written as Avro.
//!
//! Strict: each field of the schema must be there, or have a default; a field that the schema does not have is an error,
//! and so is a number beyond the range of its type, a number in a string, or a time that is finer than its unit. Bytes
//! are strings of the characters U+0000 to U+00FF, as in Avro's own JSON; a date is `2024-05-01`, a timestamp is RFC 3339
//! text; both may also be the number. Of a union, the first branch that fits is taken.
//!
//! The value goes straight from its place in the JSON text to Avro's bytes: apache-avro's own writer wants a tree of
//! values, and silently leaves out the fields that the schema does not have.

use std::borrow::Cow;
use std::sync::Arc;

use apogee_json::{Number, Reader, Seen};
use serde_json::value::RawValue;

use super::misfit::{Budget, Misfit};
use super::types::{DEPTH, Record, Type, Types, Unit};

/// Writes messages of one schema, and is quick where one has the shape of the last.
pub struct Encoder {
    types: Arc<Types>,
    shapes: Vec<Option<Shape>>,
}

/// The shape of the last JSON object that was a record of some name.
struct Shape {
    reader: Reader,
    /// Where each field of the schema stands in the text.
    places: Vec<Option<usize>>,
    /// A member of the object that the schema does not have.
    stranger: Option<usize>,
}

impl Encoder {
    pub fn new(types: Arc<Types>) -> Self {
        let shapes = types.records.iter().map(|_| None).collect();
        Self { types, shapes }
    }

    /// Appends `json`, one object, to `out`. After an error there is something there that is nothing.
    pub fn encode(&mut self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        let Self { types, shapes } = self;
        Run { types, shapes, budget: Budget::of(json), depth: 0 }.record(0, json, out)
    }
}

/// Appends one JSON value of any type.
pub fn value(types: &Types, kind: &Type, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
    let mut shapes: Vec<_> = types.records.iter().map(|_| None).collect();
    Run { types, shapes: &mut shapes, budget: Budget::of(json), depth: 0 }.write(kind, json, out)
}

/// Avro's int and long: zigzag, seven bits a byte.
pub fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

struct Run<'a> {
    types: &'a Types,
    shapes: &'a mut [Option<Shape>],
    budget: Budget,
    depth: usize,
}

impl Run<'_> {
    /// `json` is a value that was found to be good JSON.
    fn write(&mut self, kind: &Type, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        self.budget.spend()?;
        match kind {
            Type::Null if json == b"null" => {}
            Type::Boolean if json == b"true" => out.push(1),
            Type::Boolean if json == b"false" => out.push(0),
            Type::Int => long(integer::<i32>(kind, json)?.into(), out),
            Type::Long => long(integer::<i64>(kind, json)?, out),
            Type::Date if !is_string(json) => long(integer::<i32>(kind, json)?.into(), out),
            Type::Date => long(date(json)?, out),
            Type::Timestamp(_) if !is_string(json) => long(integer::<i64>(kind, json)?, out),
            Type::Timestamp(unit) => long(timestamp(*unit, json)?, out),
            Type::Float => out.extend_from_slice(&float(json)?.to_le_bytes()),
            Type::Double => out.extend_from_slice(&double(json)?.to_le_bytes()),
            Type::String if is_string(json) => sized(text(json)?.as_bytes(), out),
            Type::Bytes if is_string(json) => sized(&bytes(json)?, out),
            Type::Fixed(length) if is_string(json) => {
                let bytes = bytes(json)?;
                if bytes.len() != *length {
                    return Err(Misfit::of(json, format_args!("has {} bytes instead of {length}", bytes.len())));
                }
                out.extend_from_slice(&bytes);
            }
            Type::Enum { symbols, .. } if is_string(json) => {
                let symbol = text(json)?;
                let index = symbols.iter().position(|known| *known == symbol);
                long(index.ok_or_else(|| Misfit::of(json, "is no symbol of the enum"))? as i64, out);
            }
            Type::Array(items) if json.first() == Some(&b'[') => self.array(items, json, out)?,
            Type::Map(values) if json.first() == Some(&b'{') => self.map(values, json, out)?,
            Type::Union(branches) => self.union(branches, json, out)?,
            Type::Record(index) if json.first() == Some(&b'{') => self.record(*index, json, out)?,
            _ => return Err(mismatch(kind, json)),
        }
        Ok(())
    }

    fn deeper(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Misfit>) -> Result<(), Misfit> {
        if self.depth == DEPTH {
            return Err(Misfit::new(format!("nesting deeper than {DEPTH}")));
        }
        self.depth += 1;
        let written = write(self);
        self.depth -= 1;
        written
    }

    fn record(&mut self, index: usize, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        // A record within itself finds none, and has its own.
        let mut shape = self.shapes[index].take().unwrap_or_else(Shape::new);
        let record = &self.types.records[index];
        let written = self.deeper(|run| run.fields(record, &mut shape, json, out));
        self.shapes[index] = Some(shape);
        written
    }

    fn fields(&mut self, record: &Record, shape: &mut Shape, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        match shape.reader.read(json) {
            Ok(Seen::Same) => {}
            Ok(Seen::New) => shape.look_up(record),
            Err(error) => return Err(Misfit::new(error.to_string())),
        }
        if let Some(stranger) = shape.stranger {
            return Err(Misfit::new("the schema has no such field").within(shape.reader.name(stranger)));
        }
        for (field, place) in record.fields.iter().zip(&shape.places) {
            let json = match (place, &field.default) {
                (Some(place), _) => shape.reader.tokens()[*place].raw(json),
                (None, Some(default)) => default.written.as_bytes(),
                (None, None) => return Err(Misfit::new("it is missing, and has no default").within(&field.name)),
            };
            self.write(&field.kind, json, out).map_err(|misfit| misfit.within(&field.name))?;
        }
        Ok(())
    }

    fn array(&mut self, items: &Type, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        let elements: Vec<&RawValue> = serde_json::from_slice(json).map_err(|error| Misfit::new(error.to_string()))?;
        if !elements.is_empty() {
            long(elements.len() as i64, out);
        }
        self.deeper(|run| {
            for (index, element) in elements.iter().enumerate() {
                run.write(items, element.get().as_bytes(), out).map_err(|misfit| misfit.at(index))?;
            }
            Ok(())
        })?;
        long(0, out);
        Ok(())
    }

    fn map(&mut self, values: &Type, json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        let mut reader = Reader::flat();
        reader.read(json).map_err(|error| Misfit::new(error.to_string()))?;
        if !reader.is_empty() {
            long(reader.len() as i64, out);
        }
        self.deeper(|run| {
            for (index, token) in reader.tokens().iter().enumerate() {
                let name = reader.name(index);
                sized(name.as_bytes(), out);
                run.write(values, token.raw(json), out).map_err(|misfit| misfit.within(name))?;
            }
            Ok(())
        })?;
        long(0, out);
        Ok(())
    }

    fn union(&mut self, branches: &[Type], json: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        let (before, mut tried, mut last) = (out.len(), 0, None);
        for (index, branch) in branches.iter().enumerate() {
            if !may_be(branch, json) {
                continue;
            }
            long(index as i64, out);
            match self.write(branch, json, out) {
                Ok(()) => return Ok(()),
                Err(misfit) => last = Some(misfit),
            }
            out.truncate(before);
            tried += 1;
        }
        let titles = || branches.iter().map(Type::title).collect::<Vec<_>>().join(", ");
        match last {
            Some(misfit) if tried == 1 => Err(misfit),
            _ => Err(Misfit::of(json, format_args!("is none of {}", titles()))),
        }
    }
}

impl Shape {
    fn new() -> Self {
        Self { reader: Reader::flat(), places: Vec::new(), stranger: None }
    }

    /// Finds the fields of a record among the members of the object just read.
    fn look_up(&mut self, record: &Record) {
        self.places.clear();
        self.places.extend(record.fields.iter().map(|field| self.reader.find(&field.name)));
        let known = |member: &usize| record.fields.iter().any(|field| field.name == self.reader.name(*member));
        let found = self.places.iter().flatten().count();
        self.stranger =
            (found < self.reader.len()).then(|| (0..self.reader.len()).find(|member| !known(member))).flatten();
    }
}

fn is_string(json: &[u8]) -> bool {
    json.first() == Some(&b'"')
}

fn is_number(json: &[u8]) -> bool {
    matches!(json.first(), Some(b'-' | b'0'..=b'9'))
}

/// Whether a value could be of this type, by how it begins.
fn may_be(kind: &Type, json: &[u8]) -> bool {
    match kind {
        Type::Null => json == b"null",
        Type::Boolean => matches!(json, b"true" | b"false"),
        Type::Int | Type::Long | Type::Float | Type::Double => is_number(json),
        Type::Date | Type::Timestamp(_) => is_string(json) || is_number(json),
        Type::String | Type::Bytes | Type::Fixed(_) | Type::Enum { .. } => is_string(json),
        Type::Array(_) => json.first() == Some(&b'['),
        Type::Map(_) | Type::Record(_) => json.first() == Some(&b'{'),
        Type::Union(_) => true,
    }
}

fn mismatch(kind: &Type, json: &[u8]) -> Misfit {
    Misfit::of(json, format_args!("is not {}", kind.title()))
}

fn integer<T: std::str::FromStr>(kind: &Type, json: &[u8]) -> Result<T, Misfit> {
    let digits = std::str::from_utf8(json).ok().filter(|_| is_number(json));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| match digits {
        Some(digits) if !digits.contains(['.', 'e', 'E']) => {
            Misfit::of(json, format_args!("is beyond {}", kind.title()))
        }
        _ => mismatch(kind, json),
    })
}

fn double(json: &[u8]) -> Result<f64, Misfit> {
    if !is_number(json) {
        return Err(mismatch(&Type::Double, json));
    }
    match Number::read(json) {
        // An integer is 0 where the text may say -0.
        Some(Number::Integer(0)) if json.starts_with(b"-") => Ok(-0.0),
        Some(number) => Ok(number.value()),
        None => Err(Misfit::of(json, "is beyond a double")),
    }
}

fn float(json: &[u8]) -> Result<f32, Misfit> {
    let digits = std::str::from_utf8(json).ok().filter(|_| is_number(json));
    let digits = digits.ok_or_else(|| mismatch(&Type::Float, json))?;
    let value = digits.parse().ok().filter(|value: &f32| value.is_finite());
    value.ok_or_else(|| Misfit::of(json, "is beyond a float"))
}

/// What a string says.
fn text(json: &[u8]) -> Result<Cow<'_, str>, Misfit> {
    let inside = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    let said = match memchr::memchr(b'\\', inside) {
        None => std::str::from_utf8(inside).ok().map(Cow::Borrowed),
        Some(_) => serde_json::from_slice(json).ok().map(Cow::Owned),
    };
    said.ok_or_else(|| Misfit::of(json, "is not UTF-8"))
}

fn bytes(json: &[u8]) -> Result<Vec<u8>, Misfit> {
    let byte = |character: char| u8::try_from(u32::from(character)).ok();
    let bytes = text(json)?.chars().map(byte).collect::<Option<_>>();
    bytes.ok_or_else(|| Misfit::of(json, "has characters beyond U+00FF, which stand for no byte"))
}

fn date(json: &[u8]) -> Result<i64, Misfit> {
    let said = text(json)?;
    // A time of day, which is read over, would be lost.
    let date = said.parse::<jiff::civil::Date>().ok().filter(|date| date.to_string() == said);
    let date = date.ok_or_else(|| Misfit::of(json, "is no date such as \"2024-05-01\""))?;
    let days = jiff::civil::date(1970, 1, 1).until(date).map(|span| span.get_days());
    days.map(i64::from).map_err(|_| Misfit::of(json, "is beyond a date"))
}

fn timestamp(unit: Unit, json: &[u8]) -> Result<i64, Misfit> {
    let time = text(json)?.parse::<jiff::Timestamp>().ok();
    let time = time.ok_or_else(|| Misfit::of(json, "is no time such as \"2024-05-01T12:00:00Z\""))?;
    let scale = match unit {
        Unit::Milliseconds => 1_000_000,
        Unit::Microseconds => 1_000,
        Unit::Nanoseconds => 1,
    };
    let nanoseconds = time.as_nanosecond();
    if nanoseconds % scale != 0 {
        return Err(Misfit::of(json, "is finer than the unit of the timestamp"));
    }
    i64::try_from(nanoseconds / scale).map_err(|_| Misfit::of(json, "is beyond a timestamp"))
}
