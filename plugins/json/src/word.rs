//! Eight bytes at a time: loads, and finding bytes in a word without a loop.
//!
//! In every word the first byte of the text is the lowest. Flags are the high bits of the bytes that they
//! flag; of `specials` only the lowest flag is exact, since a borrow can spill over from there.

const ONES: u64 = 0x0101_0101_0101_0101;
pub const HIGH: u64 = 0x8080_8080_8080_8080;

/// The eight bytes of `text` from `at`. What lies past the end reads as zero, which ends every run.
#[inline(always)]
pub fn load(text: &[u8], at: usize) -> u64 {
    // One comparison with a bound that stays the same through a loop; slicing would take two.
    if at < text.len().saturating_sub(7) {
        // SAFETY: `at + 8 <= text.len()`, by the comparison.
        let bytes = unsafe { text.as_ptr().add(at).cast::<[u8; 8]>().read() };
        return u64::from_le_bytes(bytes);
    }
    load_end(text, at)
}

/// The last bytes of a text: from a word that reaches back, where there is one.
#[cold]
#[inline(never)]
fn load_end(text: &[u8], at: usize) -> u64 {
    let Some(rest) = text.get(at..) else { return 0 };
    match text.last_chunk() {
        // Less than 8 bytes are left; none left would be a shift by 64.
        Some(bytes) => u64::from_le_bytes(*bytes).checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Flags what cannot stand for itself in a string: quotes, backslashes, control characters.
#[inline(always)]
pub fn specials(word: u64) -> u64 {
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    (quotes.wrapping_sub(ONES) & !quotes
        | backslashes.wrapping_sub(ONES) & !backslashes
        | word.wrapping_sub(ONES * 0x20) & !word)
        & HIGH
}

/// Flags what is not a digit.
#[inline(always)]
pub fn not_digits(word: u64) -> u64 {
    let digits = word ^ (ONES * b'0' as u64);
    // Without their high bits no sum reaches the next byte.
    (digits | ((digits & !HIGH) + ONES * (0x80 - 10))) & HIGH
}

/// How many bytes come before the lowest flag; 8 where there is none.
#[inline(always)]
pub fn before(flags: u64) -> usize {
    flags.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_flagged_as_it_should_be() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut bytes = [b'5'; 8];
                bytes[place] = byte;
                let word = u64::from_le_bytes(bytes);
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(before(specials(word)), if special { place } else { 8 }, "{byte:#x} at {place}");
                let digit = byte.is_ascii_digit();
                assert_eq!(not_digits(word), if digit { 0 } else { 0x80 << (8 * place) }, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn past_the_end_come_zeros() {
        for length in 0..20 {
            let text: Vec<u8> = (1..=length).collect();
            for at in 0..24_usize {
                let expected: [u8; 8] = std::array::from_fn(|i| text.get(at + i).copied().unwrap_or(0));
                assert_eq!(load(&text, at).to_le_bytes(), expected, "{length} bytes, from {at}");
            }
        }
    }
}
