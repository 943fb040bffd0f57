//! Appends short strings in wide steps.
//!
//! A copy of a length known only at run time is a call, in the sandbox even one to the host; most names and
//! values are shorter than such a call is worth.

/// Bytes copied at a time.
pub const STEP: usize = 32;

/// Appends `text[start..end]` to `out`. Fast where [`STEP`] bytes follow `start` in `text`, and fit into `out`.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, text: &[u8], start: usize, end: usize) {
    let (from, length) = (out.len(), end - start);
    if length <= STEP && start < text.len().saturating_sub(STEP - 1) && out.capacity() - from >= STEP {
        // SAFETY: by the comparisons a step from `start` lies within `text`, and one from `from` within what
        // `out` has allocated; of it, the `length` bytes that now belong to `out` are written.
        unsafe {
            let step = text.as_ptr().add(start).cast::<[u8; STEP]>().read();
            out.as_mut_ptr().add(from).cast::<[u8; STEP]>().write(step);
            out.set_len(from + length);
        }
    } else {
        exactly(out, text, start, end);
    }
}

/// What is longer than a step, or where a step would reach too far.
#[inline(never)]
fn exactly(out: &mut Vec<u8>, text: &[u8], start: usize, end: usize) {
    out.extend_from_slice(&text[start..end]);
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
