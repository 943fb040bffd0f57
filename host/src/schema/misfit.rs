//! Why a message does not fit its schema, and how much work it may be to find out.

use std::fmt;

use crate::config::text::excerpt;

/// What does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The field, such as `route.stops[2]`; empty for the whole.
    place: String,
    what: String,
}

impl Misfit {
    pub fn new(what: impl Into<String>) -> Self {
        Self { place: String::new(), what: what.into() }
    }

    /// Of a value as it stands in JSON.
    pub fn of(json: &[u8], what: impl fmt::Display) -> Self {
        Self::new(format!("{} {what}", apogee_json::excerpt(json)))
    }

    /// The same, seen from around the field or element `name`.
    pub fn within(mut self, name: &str) -> Self {
        let joint = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        // Names come from outside, and there may be many around one another.
        self.place = excerpt(&format!("{name}{joint}{}", self.place), 200);
        self
    }

    pub fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "field {place}: {}", self.what),
        }
    }
}

/// Values that may be looked at for one message, by its length: no more than a message of honest data has. A few bytes
/// can say that there are many values, or that one fits none of many branches of a union within unions.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    pub fn of(message: &[u8]) -> Self {
        Self(65_536_usize.saturating_add(message.len().saturating_mul(16)))
    }

    pub fn spend(&mut self) -> Result<(), Misfit> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(Misfit::new("it says far more values than it has bytes")),
        }
    }
}
