//! What a number says, as exactly as it can be had.

use std::cmp::Ordering;

/// An integer of up to 38 digits, or the float that is nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Integer(i128),
    Decimal(f64),
}

impl Number {
    /// Reads the digits of a number; `None` where they are none, or more than a float can hold.
    #[inline]
    pub fn read(digits: &[u8]) -> Option<Self> {
        short(digits).or_else(|| Self::read_any(digits))
    }

    fn read_any(digits: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            // Most integers fit 64 bits, which are read faster.
            let short = digits.parse::<i64>().map(i128::from);
            if let Ok(integer) = short.or_else(|_| digits.parse()) {
                return Some(Self::Integer(integer));
            }
        }
        digits.parse().ok().filter(|value: &f64| value.is_finite()).map(Self::Decimal)
    }

    /// The float that is nearest.
    #[inline]
    pub fn value(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Decimal(value) => value,
        }
    }
}

/// Reads a decimal of at most 15 digits without exponent, as most are: its digits and the power of ten that they are
/// divided by are floats exactly, so that the quotient is the float that is nearest. `None` leaves it to the library.
#[inline]
fn short(digits: &[u8]) -> Option<Number> {
    const TENS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = digits.strip_prefix(b"-").map_or((false, digits), |digits| (true, digits));
    if !(3..=16).contains(&digits.len()) {
        return None;
    }
    let (mut whole, mut dot) = (0_u64, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => whole = whole * 10 + u64::from(byte - b'0'),
            b'.' if dot.is_none() && at > 0 => dot = Some(at),
            _ => return None,
        }
    }
    let value = whole as f64 / TENS.get(digits.len() - 1 - dot.filter(|dot| dot + 1 < digits.len())?)?;
    Some(Number::Decimal(if negative { -value } else { value }))
}

impl PartialOrd for Number {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => Some(one.cmp(other)),
            (one, other) => one.value().partial_cmp(&other.value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_exact_as_they_can_be() {
        let read = |digits: &str| Number::read(digits.as_bytes());
        assert_eq!(read("-12"), Some(Number::Integer(-12)));
        assert_eq!(read("170141183460469231731687303715884105727"), Some(Number::Integer(i128::MAX)));
        assert_eq!(read("170141183460469231731687303715884105728"), Some(Number::Decimal(2_f64.powi(127))));
        assert_eq!(read("433.83561822897"), Some(Number::Decimal(433.83561822897)));
        assert_eq!(read("1e3"), Some(Number::Decimal(1000.0)));
        for none in ["1e999", "", "-", "x", "\u{e9}"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert!(read("9007199254740993") > read("9007199254740992"), "more than a float can tell apart");
        assert!(read("1.5") > read("1") && read("1.0").partial_cmp(&read("1")) == Some(Ordering::Equal));
    }

    #[test]
    fn short_decimals_are_what_the_library_reads() {
        let mut state = 25_544_u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut text = (state >> 10).to_string();
            text.truncate(1 + (state >> 3) as usize % 17);
            text.insert((state >> 5) as usize % (text.len() + 1), '.');
            let text = if state & 1 == 0 { text } else { format!("-{text}") };
            let expected = text.parse::<f64>().ok().map(f64::to_bits);
            assert_eq!(Number::read(text.as_bytes()).map(|it| it.value().to_bits()), expected, "{text}");
        }
        assert_eq!(Number::read(b"-0.0").map(|it| it.value().to_bits()), Some((-0.0_f64).to_bits()));
        for none in ["1.2.3", "--1.5", "1.5-", "1_0.0", "-.", " 1.5"] {
            assert_eq!(Number::read(none.as_bytes()), None, "{none}");
        }
    }
}
