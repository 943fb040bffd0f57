//! Times: numbers since the Unix epoch, read exactly, and RFC 3339 text, written fast.

use apogee_json::{Kind, Token};
use jiff::civil::Date;
use jiff::{ToSpan, fmt::temporal::Pieces};
use schemars::JsonSchema;
use serde::Deserialize;

const DAY: i64 = 86_400;
/// The seconds of the years 0000 to 9999, which RFC 3339 can write.
const YEARS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

/// Room for a timestamp without fraction, in quotes; copied whole.
const LINE: usize = 32;
/// Where in it a fraction would stand.
const FRACTION: usize = 20;

/// What a number counts since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl Unit {
    /// How many make a second, as a power of ten.
    fn exponent(self) -> u32 {
        match self {
            Self::S => 0,
            Self::Ms => 3,
            Self::Us => 6,
            Self::Ns => 9,
        }
    }
}

/// A time: seconds since the Unix epoch, and nanoseconds after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    seconds: i64,
    nanoseconds: u32,
}

impl Instant {
    /// Reads a number or a numeric string; `None` where it is none, or is out of range. What is finer than a
    /// nanosecond is cut off.
    #[inline(always)]
    pub fn read(token: Token, text: &[u8], unit: Unit) -> Option<Self> {
        if let (Kind::Integer, Unit::S) = (token.kind, unit)
            && let Some(seconds) = small(text, token)
        {
            return Some(Self { seconds, nanoseconds: 0 });
        }
        Self::exact(token, text, unit)
    }

    /// Any number, by decimal arithmetic.
    #[inline(never)]
    fn exact(token: Token, text: &[u8], unit: Unit) -> Option<Self> {
        let raw = token.numeric(text)?.raw(text);
        let raw = std::str::from_utf8(raw).ok()?;
        let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // Far more digits of a fraction than count would be too many for the arithmetic.
        let fraction = &fraction[..fraction.len().min(18)];
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        // How many places the point moves to the right to give nanoseconds.
        let unit = 9 - unit.exponent() as i32;
        let places = exponent.parse::<i32>().ok()?.checked_sub(fraction.len() as i32)?.checked_add(unit)?;
        let scale = 10_i128.checked_pow(places.unsigned_abs());
        let nanoseconds = match scale {
            Some(scale) if places >= 0 => digits.checked_mul(scale)?,
            Some(scale) => digits.div_euclid(scale),
            None if digits == 0 => 0,
            None if places >= 0 => return None,
            None => digits.signum().min(0),
        };
        let second = 1_000_000_000;
        Some(Self {
            seconds: i64::try_from(nanoseconds.div_euclid(second)).ok()?,
            nanoseconds: nanoseconds.rem_euclid(second) as u32,
        })
    }

    /// Since the Unix epoch, rounded down; `None` if it does not fit.
    #[inline]
    pub fn milliseconds(self) -> Option<i64> {
        self.seconds.checked_mul(1000)?.checked_add(i64::from(self.nanoseconds / 1_000_000))
    }
}

/// A number of at most 16 digits and without sign.
#[inline]
fn small(text: &[u8], number: Token) -> Option<i64> {
    let (start, end) = (number.start(), number.end());
    let word = |at: usize| Some(u64::from_le_bytes(*text.get(at..)?.first_chunk()?));
    let value = match end - start {
        // What follows the digits is shifted out.
        length @ 1..=8 => eight(word(start)? << (64 - 8 * length)),
        length @ 9..=16 => eight(word(start)? << (128 - 8 * length)) * 100_000_000 + eight(word(end - 8)?),
        _ => return None,
    };
    (text[start] != b'-').then_some(value as i64)
}

/// The number that eight digits say, without a loop: neighbours are joined to pairs, then to fours.
#[inline]
fn eight(digits: u64) -> u64 {
    let digits = digits & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff
}

/// Writes times as RFC 3339 text in quotes, at one offset.
#[derive(Debug, Clone)]
pub struct Timestamps {
    unit: Unit,
    /// East of UTC, in seconds.
    offset: i64,
    /// `Z` or `+02:00`.
    suffix: String,
    /// When the present day starts, in local seconds.
    midnight: i64,
    /// Midnight of the present day, such as `"2023-07-22T00:00:00Z"`, with quotes.
    line: [u8; LINE],
    length: usize,
}

impl Timestamps {
    /// `None` if `offset` is none. Without it times are UTC.
    pub fn new(unit: Unit, offset: Option<&str>) -> Option<Self> {
        let (offset, suffix) = match offset {
            None | Some("Z") => (0, "Z"),
            Some(offset) => {
                let local = format!("2000-01-01T00:00{offset}");
                let known = Pieces::parse(&local).ok()?.to_numeric_offset()?;
                // Hours and minutes, of less than a day: what RFC 3339 can write.
                if offset.len() != 6 || i64::from(known.seconds()).abs() >= DAY {
                    return None;
                }
                (known.seconds().into(), offset)
            }
        };
        let mut timestamps =
            Self { unit, offset, suffix: suffix.to_owned(), midnight: 0, line: [b'"'; LINE], length: 0 };
        timestamps.turn(0)?;
        Some(timestamps)
    }

    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Appends a time to `out`; `None` if its year has not four digits.
    #[inline]
    pub fn write(&mut self, instant: Instant, out: &mut Vec<u8>) -> Option<()> {
        let local = instant.seconds.checked_add(self.offset)?;
        let mut second = local.wrapping_sub(self.midnight);
        if !(0..DAY).contains(&second) {
            self.turn(local)?;
            second = local - self.midnight;
        }
        let start = out.len();
        out.extend_from_slice(&self.line);
        let line = out.get_mut(start..)?.first_chunk_mut::<LINE>()?;
        let second = second as u32;
        for (at, value) in [(12, second / 3600), (15, second / 60 % 60), (18, second % 60)] {
            line[at] = b'0' + (value / 10) as u8;
            line[at + 1] = b'0' + (value % 10) as u8;
        }
        if instant.nanoseconds == 0 {
            out.truncate(start + self.length);
        } else {
            self.write_fraction(instant.nanoseconds, start, out);
        }
        Some(())
    }

    /// Turns to the day of `local`, in seconds.
    #[inline(never)]
    fn turn(&mut self, local: i64) -> Option<()> {
        let day = YEARS.contains(&local).then(|| local.div_euclid(DAY))?;
        let date = Date::constant(1970, 1, 1).checked_add(day.days()).ok()?;
        let line = format!("\"{date}T00:00:00{}\"", self.suffix);
        self.line.get_mut(..line.len())?.copy_from_slice(line.as_bytes());
        self.length = line.len();
        self.midnight = day * DAY;
        Some(())
    }

    /// Puts a fraction after the seconds of the line that starts at `start`.
    #[inline(never)]
    fn write_fraction(&self, nanoseconds: u32, start: usize, out: &mut Vec<u8>) {
        out.truncate(start + FRACTION);
        out.extend_from_slice(format!(".{nanoseconds:09}").trim_end_matches('0').as_bytes());
        out.extend_from_slice(&self.line[FRACTION..self.length]);
    }
}
