//! Appends short strings in wide steps.
//!
//! A copy of a length known only at run time is a call, in the sandbox even one to the host; most names and
//! values are shorter than such a call is worth.

/// Bytes copied at a time.
pub const STEP: usize = 16;

/// Appends `text[start..end]` to `out`. Fast where at least [`STEP`] bytes follow `end` in `text`.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, text: &[u8], start: usize, end: usize) {
    if end - start > 4 * STEP {
        return out.extend_from_slice(&text[start..end]);
    }
    let length = out.len() + (end - start);
    let mut at = start;
    while at < end {
        match text.get(at..).and_then(<[u8]>::first_chunk::<STEP>) {
            Some(step) => out.extend_from_slice(step),
            None => return last(out, text, at, end, length),
        }
        at += STEP;
    }
    // The last step went beyond the end.
    out.truncate(length);
}

/// The last bytes of `text`, where a full step would reach beyond it.
#[inline(never)]
fn last(out: &mut Vec<u8>, text: &[u8], at: usize, end: usize, length: usize) {
    out.extend_from_slice(&text[at..end]);
    debug_assert_eq!(out.len(), length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_place_is_copied() {
        let text: Vec<u8> = (0..100).collect();
        for start in 0..=text.len() {
            for end in start..=text.len() {
                let mut out = vec![7];
                append(&mut out, &text, start, end);
                assert_eq!((out[0], &out[1..]), (7, &text[start..end]));
            }
        }
    }
}
