//! Avro as others write it, read by their schema and resolved to ours, as JSON that plugins read.
//!
//! What comes in is not trusted: each length is checked against what is there, the values are counted, and nesting is
//! bounded, so that no bytes and no schema of a stranger cost more than a bounded amount of memory, stack and time.
//! apache-avro's own reader takes a string or a union that is cut off for null, and goes as deep as it is told to.

use serde_json::to_writer;

use super::misfit::{Budget, Misfit};
use super::types::{DEPTH, Field, Record, Type, Types, Unit};

/// The longest JSON of one message.
const LARGEST: usize = 64 << 20;

/// Appends what `avro` says, written by `writer`, to `out` as an object of `reader`. All of the bytes must be the
/// message.
pub fn decode(writer: &Types, reader: &Types, avro: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
    whole(writer, &Type::Record(0), Target { types: reader, kind: &Type::Record(0) }, avro, out)
}

/// Appends a value that was written by the same schema.
pub fn value(types: &Types, kind: &Type, avro: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
    whole(types, kind, Target { types, kind }, avro, out)
}

fn whole(writer: &Types, from: &Type, to: Target<'_>, avro: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
    let mut run = Run { writer, rest: avro, budget: Budget::of(avro), depth: 0 };
    run.read(from, to, out)?;
    match run.rest.len() {
        0 => Ok(()),
        more => Err(Misfit::new(format!("{more} byte(s) follow upon its end"))),
    }
}

/// What is read for.
#[derive(Clone, Copy)]
struct Target<'t> {
    types: &'t Types,
    kind: &'t Type,
}

impl<'t> Target<'t> {
    fn with(self, kind: &'t Type) -> Self {
        Self { kind, ..self }
    }
}

struct Run<'a> {
    writer: &'a Types,
    rest: &'a [u8],
    budget: Budget,
    depth: usize,
}

impl<'a> Run<'a> {
    fn read(&mut self, from: &'a Type, to: Target<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        self.budget.spend()?;
        if out.len() > LARGEST {
            return Err(Misfit::new(format!("it is more than {LARGEST} bytes of JSON")));
        }
        match (from, to.kind) {
            (Type::Union(branches), _) => {
                let branch = self.one_of(branches, "branch")?;
                self.read(branch, to, out)
            }
            (_, Type::Union(branches)) => {
                let same = branches.iter().find(|branch| self.is_same(from, to.with(branch)));
                let branch = same.or_else(|| branches.iter().find(|branch| resolves(from, branch)));
                self.read(from, to.with(branch.ok_or_else(|| unlike(from, to.kind))?), out)
            }
            (Type::Array(from), Type::Array(items)) => {
                self.items(*b"[]", out, |run, out| run.read(from, to.with(items), out))
            }
            (Type::Map(from), Type::Map(values)) => self.items(*b"{}", out, |run, out| {
                run.read(&Type::String, to.with(&Type::String), out)?;
                out.push(b':');
                run.read(from, to.with(values), out)
            }),
            (Type::Record(from), Type::Record(index)) => {
                let writer = self.writer;
                self.deeper(|run| run.record(&writer.records[*from], &to.types.records[*index], to, out))
            }
            (from, kind) if resolves(from, kind) => self.scalar(from, kind, out),
            (from, kind) => Err(unlike(from, kind)),
        }
    }

    /// A value without others in it, of a type that can be read as `kind`.
    fn scalar(&mut self, from: &'a Type, kind: &Type, out: &mut Vec<u8>) -> Result<(), Misfit> {
        match (from, kind) {
            (Type::Boolean, _) => match self.take(1)? {
                [0] => out.extend_from_slice(b"false"),
                [1] => out.extend_from_slice(b"true"),
                other => return Err(Misfit::new(format!("{} is no boolean", other[0]))),
            },
            (Type::Int | Type::Date, _) => {
                let value = self.long()?;
                if i32::try_from(value).is_err() {
                    return Err(Misfit::new(format!("{value} is beyond an int")));
                }
                number(value, kind, out)?;
            }
            (Type::Long | Type::Timestamp(_), _) => number(self.long()?, kind, out)?,
            (Type::Float, Type::Float) => {
                let value = f32::from_le_bytes(self.array()?);
                finite(value.is_finite())?;
                to_writer(out, &value).map_err(cannot)?;
            }
            (Type::Float, _) => float(f32::from_le_bytes(self.array()?).into(), out)?,
            (Type::Double, _) => float(f64::from_le_bytes(self.array()?), out)?,
            (Type::String | Type::Bytes, Type::String) => {
                let text = std::str::from_utf8(self.sized()?);
                let text = text.map_err(|error| Misfit::new(format!("a string that is not UTF-8 ({error})")))?;
                to_writer(out, text).map_err(cannot)?;
            }
            (Type::String | Type::Bytes, _) => bytes(self.sized()?, out),
            (Type::Fixed(length), _) => bytes(self.take(*length)?, out),
            (Type::Enum { symbols, .. }, Type::Enum { symbols: known, default }) => {
                let symbol = self.one_of(symbols, "symbol")?;
                let symbol = if known.contains(symbol) { Some(symbol) } else { default.as_ref() };
                let symbol = symbol.ok_or_else(|| Misfit::new("a symbol that our schema does not have"))?;
                apogee_json::quote(symbol.as_bytes(), out);
            }
            // There is nothing to it.
            _ => out.extend_from_slice(b"null"),
        }
        Ok(())
    }

    /// The one whose index comes next.
    fn one_of<T>(&mut self, all: &'a [T], what: &str) -> Result<&'a T, Misfit> {
        let index = self.long()?;
        let found = usize::try_from(index).ok().and_then(|index| all.get(index));
        found.ok_or_else(|| Misfit::new(format!("{what} {index} of {}", all.len())))
    }

    /// Whether a branch of our union is the very type that was written.
    fn is_same(&self, from: &Type, to: Target<'_>) -> bool {
        match (from, to.kind) {
            (Type::Record(from), Type::Record(to_index)) => {
                self.writer.records[*from].name == to.types.records[*to_index].name
            }
            (from, kind) => std::mem::discriminant(from) == std::mem::discriminant(kind) && resolves(from, kind),
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Misfit>) -> Result<(), Misfit> {
        if self.depth == DEPTH {
            return Err(Misfit::new(format!("nesting deeper than {DEPTH}")));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn record(&mut self, from: &'a Record, record: &Record, to: Target<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let mut found = vec![false; record.fields.len()];
        let start = out.len();
        out.push(b'{');
        for (position, field) in from.fields.iter().enumerate() {
            let place = place(record, position, &field.name).filter(|place| !found[*place]);
            let before = out.len();
            let read = match place {
                Some(place) => {
                    found[place] = true;
                    begin(&record.fields[place], start, out);
                    self.read(&field.kind, to.with(&record.fields[place].kind), out)
                }
                // Read by the schema that it was written by, and left out.
                None => {
                    let own = Target { types: self.writer, kind: &field.kind };
                    let read = self.read(&field.kind, own, out);
                    out.truncate(before);
                    read
                }
            };
            read.map_err(|misfit| misfit.within(&field.name))?;
        }
        for (field, _) in record.fields.iter().zip(&found).filter(|(_, found)| !**found) {
            let Some(default) = &field.default else {
                let what = "the schema that it was written by does not have it, and ours has no default";
                return Err(Misfit::new(what).within(&field.name));
            };
            begin(field, start, out);
            out.extend_from_slice(&default.read);
        }
        out.push(b'}');
        Ok(())
    }

    /// The blocks of an array or a map, between these brackets.
    fn items(
        &mut self,
        brackets: [u8; 2],
        out: &mut Vec<u8>,
        mut item: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        out.push(brackets[0]);
        self.deeper(|run| {
            let mut index = 0;
            loop {
                let mut count = run.long()?;
                if count < 0 {
                    // The bytes of the block, for who would pass over it.
                    run.long()?;
                    count = count.checked_neg().ok_or_else(|| Misfit::new("a block of too many items"))?;
                }
                if count == 0 {
                    return Ok(());
                }
                for _ in 0..count {
                    if index > 0 {
                        out.push(b',');
                    }
                    item(run, out).map_err(|misfit| misfit.at(index))?;
                    index += 1;
                }
            }
        })?;
        out.push(brackets[1]);
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Misfit> {
        let short = || Misfit::new(format!("{length} byte(s) where there are {}", self.rest.len()));
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Misfit::new("too few bytes"))
    }

    fn sized(&mut self) -> Result<&'a [u8], Misfit> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| Misfit::new(format!("a length of {length}")))?)
    }

    fn long(&mut self) -> Result<i64, Misfit> {
        let mut value = 0_u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            // Of the tenth byte, one bit has a place.
            if at == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Misfit::new(if self.rest.len() < 10 { "it ends within a number" } else { "a number of more than 64 bits" }))
    }
}

/// Whether one type can be read as another, by Avro's rules, as far as types alone say it.
fn resolves(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (Type::Int, Type::Int | Type::Date | Type::Long | Type::Timestamp(_) | Type::Float | Type::Double)
        | (Type::Date, Type::Date | Type::Int | Type::Long)
        | (Type::Long, Type::Long | Type::Timestamp(_) | Type::Float | Type::Double)
        | (Type::Timestamp(_), Type::Long)
        | (Type::Float, Type::Float | Type::Double)
        | (Type::String | Type::Bytes, Type::String | Type::Bytes) => true,
        // An instant in another unit is another instant.
        (Type::Timestamp(one), Type::Timestamp(other)) => one == other,
        (Type::Fixed(one), Type::Fixed(other)) => one == other,
        (from, to) => std::mem::discriminant(from) == std::mem::discriminant(to),
    }
}

fn unlike(from: &Type, to: &Type) -> Misfit {
    Misfit::new(format!("it was written as {}, and is {} in our schema", from.title(), to.title()))
}

/// Where our record has a field of the writer's; mostly in the same place.
fn place(record: &Record, position: usize, name: &str) -> Option<usize> {
    if record.fields.get(position).is_some_and(|field| field.name == name) {
        return Some(position);
    }
    let named = record.fields.iter().position(|field| field.name == name);
    named.or_else(|| record.fields.iter().position(|field| field.aliases.iter().any(|alias| alias == name)))
}

/// Begins the next member of the object that began at `start`.
fn begin(field: &Field, start: usize, out: &mut Vec<u8>) {
    if out.len() > start + 1 {
        out.push(b',');
    }
    out.extend_from_slice(&field.key);
}

/// A number as what it is for us.
fn number(value: i64, kind: &Type, out: &mut Vec<u8>) -> Result<(), Misfit> {
    let text = match kind {
        Type::Float => return to_writer(out, &(value as f32)).map_err(cannot),
        Type::Double => return to_writer(out, &(value as f64)).map_err(cannot),
        Type::Date => {
            let days = jiff::Span::new().try_days(value);
            days.and_then(|days| jiff::civil::date(1970, 1, 1).checked_add(days)).map(|day| day.to_string())
        }
        Type::Timestamp(Unit::Milliseconds) => jiff::Timestamp::from_millisecond(value).map(|time| time.to_string()),
        Type::Timestamp(Unit::Microseconds) => jiff::Timestamp::from_microsecond(value).map(|time| time.to_string()),
        Type::Timestamp(Unit::Nanoseconds) => {
            jiff::Timestamp::from_nanosecond(value.into()).map(|time| time.to_string())
        }
        _ => return to_writer(out, &value).map_err(cannot),
    };
    let text = text.map_err(|_| Misfit::new(format!("{value} is beyond {}", kind.title())))?;
    apogee_json::quote(text.as_bytes(), out);
    Ok(())
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let text: String = bytes.iter().copied().map(char::from).collect();
    apogee_json::quote(text.as_bytes(), out);
}

fn float(value: f64, out: &mut Vec<u8>) -> Result<(), Misfit> {
    finite(value.is_finite())?;
    to_writer(out, &value).map_err(cannot)
}

fn finite(is_finite: bool) -> Result<(), Misfit> {
    if is_finite { Ok(()) } else { Err(Misfit::new("a number that JSON does not have (NaN or infinite)")) }
}

fn cannot(error: serde_json::Error) -> Misfit {
    Misfit::new(error.to_string())
}
