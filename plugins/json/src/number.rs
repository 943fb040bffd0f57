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
}
