//! Output that is not what it should be.

use crate::apogee::plugin::messages::{Batch, Column, Header, Output, Rejection};

/// What comes in goes out.
pub fn echo(batch: Batch) -> Output {
    Output { origins: (0..batch.timestamps.len() as u32).collect(), messages: batch, rejected: Vec::new() }
}

/// An echo with a lie in it.
pub fn with(batch: Batch, lie: impl FnOnce(&mut Output)) -> Output {
    let mut output = echo(batch);
    lie(&mut output);
    output
}

/// One message that says `text`, from the first one that came in.
pub fn note(text: String, batch: Batch) -> Output {
    let timestamp = batch.timestamps.first().copied().unwrap_or_default();
    let values = Column { lengths: vec![text.len() as i32], bytes: text.into_bytes() };
    let keys = Column { bytes: Vec::new(), lengths: vec![-1] };
    let messages = Batch { keys, values, timestamps: vec![timestamp], headers: Vec::new() };
    Output { messages, origins: vec![0], rejected: Vec::new() }
}

/// Makes the last value that is not null longer than its bytes, or shorter.
pub fn lengthen(output: &mut Output, by: i32) {
    if let Some(length) = output.messages.values.lengths.iter_mut().rev().find(|length| **length > 0) {
        *length += by;
    }
}

/// A header of a message that was not put out.
pub fn header_of_nothing(output: &mut Output) {
    output.messages.headers.push(Header { message: u32::MAX, name: "lost".to_owned(), value: Vec::new() });
}

/// Puts nothing out and rejects these messages, so that only the rejections can be wrong.
pub fn reject(output: &mut Output, messages: &[u32], reason: &str) {
    let rejection = |message: &u32| Rejection { message: *message, reason: reason.to_owned() };
    let rejected = messages.iter().map(rejection).collect();
    let none = || Column { bytes: Vec::new(), lengths: Vec::new() };
    let messages = Batch { keys: none(), values: none(), timestamps: Vec::new(), headers: Vec::new() };
    *output = Output { messages, origins: Vec::new(), rejected };
}

/// As many empty messages, all from the first one.
pub fn many(count: u64) -> Output {
    let count = count as usize;
    let column = || Column { bytes: Vec::new(), lengths: vec![0; count] };
    let messages = Batch { keys: column(), values: column(), timestamps: vec![0; count], headers: Vec::new() };
    Output { messages, origins: vec![0; count], rejected: Vec::new() }
}

/// One message of so many bytes.
pub fn giant(bytes: u64) -> Output {
    let length = i32::try_from(bytes).unwrap_or(i32::MAX);
    let values = Column { bytes: vec![b'x'; length as usize], lengths: vec![length] };
    let keys = Column { bytes: Vec::new(), lengths: vec![-1] };
    let messages = Batch { keys, values, timestamps: vec![0], headers: Vec::new() };
    Output { messages, origins: vec![0], rejected: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let column = || Column { bytes: b"abcd".to_vec(), lengths: vec![3, -1, 1] };
        Batch { keys: column(), values: column(), timestamps: vec![1, 2, 3], headers: Vec::new() }
    }

    /// Whether a host that checks everything would take it.
    fn honest(output: &Output) -> bool {
        let Output { messages, origins, rejected } = output;
        let count = messages.timestamps.len();
        let column = |column: &Column| {
            let sum: i64 = column.lengths.iter().map(|length| i64::from(*length).max(0)).sum();
            column.lengths.len() == count
                && column.lengths.iter().all(|length| *length >= -1)
                && sum == column.bytes.len() as i64
        };
        let mut seen = std::collections::HashSet::new();
        column(&messages.keys)
            && column(&messages.values)
            && messages.headers.iter().all(|header| (header.message as usize) < count)
            && origins.len() == count
            && origins.iter().all(|origin| *origin < 3)
            && rejected.iter().all(|rejection| rejection.message < 3 && seen.insert(rejection.message))
    }

    #[test]
    fn only_the_lies_are_lies() {
        assert!(honest(&echo(batch())));
        assert!(honest(&note("text".to_owned(), batch())));
        assert!(honest(&many(5)));
        assert!(honest(&giant(5)));
        assert!(honest(&with(batch(), |output| reject(output, &[0], "long"))));
        let lies: [fn(&mut Output); 5] = [
            |output| lengthen(output, 1),
            |output| lengthen(output, -1),
            header_of_nothing,
            |output| reject(output, &[7], "out of range"),
            |output| reject(output, &[0, 0], "twice"),
        ];
        for (index, lie) in lies.into_iter().enumerate() {
            assert!(!honest(&with(batch(), lie)), "lie {index}");
        }
    }
}
