//! What a window counts.

use apogee_json::Number;
use apogee_sdk::{Aggregate, Value};

/// What is known of the messages of one group in one window.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Counts {
    pub count: u64,
    pub duplicates: u64,
    /// One for each aggregate that takes numbers, in order; none before the first message.
    pub cells: Vec<Cell>,
}

/// What is known of the numbers of one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Integers exactly, everything else as floats in the order in which it came.
    Sum { integer: i128, decimal: f64, exact: bool },
    /// The lowest number, and its digits as they came.
    Min(Number, Vec<u8>),
    /// The highest.
    Max(Number, Vec<u8>),
    /// Of a window that was open before it was asked for.
    Unknown,
}

const SUM: u8 = 0;
const MIN: u8 = 1;
const MAX: u8 = 2;
const UNKNOWN: u8 = 3;

impl Cell {
    pub fn sum() -> Self {
        Self::Sum { integer: 0, decimal: 0.0, exact: true }
    }

    /// Takes in one more number.
    #[inline]
    pub fn add(&mut self, number: Number, digits: &[u8]) {
        match self {
            Self::Sum { integer, decimal, exact } => match number {
                Number::Integer(more) => match integer.checked_add(more) {
                    Some(sum) => *integer = sum,
                    None => {
                        *decimal += *integer as f64;
                        *exact = false;
                        *integer = more;
                    }
                },
                Number::Decimal(more) => {
                    *decimal += more;
                    *exact = false;
                }
            },
            Self::Min(lowest, kept) if number < *lowest => keep(number, digits, lowest, kept),
            Self::Max(highest, kept) if number > *highest => keep(number, digits, highest, kept),
            Self::Min(..) | Self::Max(..) | Self::Unknown => {}
        }
    }

    /// The sum: the digits of an exact one, else a float.
    fn total(integer: i128, decimal: f64, exact: bool) -> Number {
        if exact { Number::Integer(integer) } else { Number::Decimal(integer as f64 + decimal) }
    }

    /// Appends it to JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sum { integer, decimal, exact } => match Self::total(*integer, *decimal, *exact) {
                Number::Integer(sum) => out.extend_from_slice(sum.to_string().as_bytes()),
                Number::Decimal(sum) => write_float(sum, out),
            },
            Self::Min(_, digits) | Self::Max(_, digits) => out.extend_from_slice(digits),
            Self::Unknown => out.extend_from_slice(b"null"),
        }
    }

    /// Appends it, shared among `count`, to JSON.
    pub fn write_average(&self, count: u64, out: &mut Vec<u8>) {
        match self {
            Self::Sum { integer, decimal, exact } => {
                write_float(Self::total(*integer, *decimal, *exact).value() / count as f64, out);
            }
            Self::Min(..) | Self::Max(..) | Self::Unknown => self.write(out),
        }
    }

    fn merge(&mut self, later: Self) {
        match (self, later) {
            (cell, Self::Unknown) => *cell = Self::Unknown,
            (cell, Self::Min(number, digits) | Self::Max(number, digits)) => cell.add(number, &digits),
            (cell @ Self::Sum { .. }, Self::Sum { integer, decimal, exact }) => {
                cell.add(Number::Integer(integer), &[]);
                if !exact {
                    cell.add(Number::Decimal(decimal), &[]);
                }
            }
            // The cells of two windows are of the same aggregates.
            (Self::Min(..) | Self::Max(..) | Self::Unknown, Self::Sum { .. }) => {}
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Sum { integer, decimal, exact } => {
                bytes.extend_from_slice(&[SUM, u8::from(*exact)]);
                bytes.extend_from_slice(&integer.to_le_bytes());
                bytes.extend_from_slice(&decimal.to_le_bytes());
            }
            Self::Min(_, digits) => encode_digits(MIN, digits, bytes),
            Self::Max(_, digits) => encode_digits(MAX, digits, bytes),
            Self::Unknown => bytes.push(UNKNOWN),
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let kind = take::<1>(bytes)?[0];
        if kind == UNKNOWN {
            return Some(Self::Unknown);
        }
        if kind == SUM {
            let exact = take::<1>(bytes)?[0] == 1;
            let integer = i128::from_le_bytes(take(bytes)?);
            return Some(Self::Sum { integer, decimal: f64::from_le_bytes(take(bytes)?), exact });
        }
        let length = u32::from_le_bytes(take(bytes)?) as usize;
        let (digits, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let number = Number::read(digits)?;
        match kind {
            MIN => Some(Self::Min(number, digits.to_vec())),
            MAX => Some(Self::Max(number, digits.to_vec())),
            _ => None,
        }
    }
}

impl Counts {
    /// Gives each cell its place: `places` has, for each that there is to be, where it stands now; says whether that
    /// changed anything.
    pub fn arrange(&mut self, places: &[Option<usize>]) -> bool {
        // Nothing was counted, so nothing is unknown.
        if self.count == 0 {
            return false;
        }
        let cell = |place: &Option<usize>| place.and_then(|place| self.cells.get(place)).cloned();
        let cells: Vec<_> = places.iter().map(|place| cell(place).unwrap_or(Cell::Unknown)).collect();
        let changed = cells != self.cells;
        self.cells = cells;
        changed
    }
}

#[inline]
fn keep(number: Number, digits: &[u8], best: &mut Number, kept: &mut Vec<u8>) {
    *best = number;
    kept.clear();
    kept.extend_from_slice(digits);
}

/// What overflowed has no JSON number.
fn write_float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(format!("{value:?}").as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

fn encode_digits(kind: u8, digits: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(kind);
    bytes.extend_from_slice(&(digits.len() as u32).to_le_bytes());
    bytes.extend_from_slice(digits);
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

impl Value for Counts {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.duplicates.to_le_bytes());
        self.cells.iter().for_each(|cell| cell.encode(bytes));
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let count = u64::from_le_bytes(take(&mut bytes)?);
        let duplicates = u64::from_le_bytes(take(&mut bytes)?);
        let mut cells = Vec::new();
        while !bytes.is_empty() {
            cells.push(Cell::decode(&mut bytes)?);
        }
        Some(Self { count, duplicates, cells })
    }
}

impl Aggregate for Counts {
    fn merge(&mut self, later: Self) {
        self.count += later.count;
        self.duplicates += later.duplicates;
        if self.cells.is_empty() {
            self.cells = later.cells;
        } else {
            self.cells.iter_mut().zip(later.cells).for_each(|(cell, later)| cell.merge(later));
        }
    }
}
