//! Which message of the one version is which of the other, where both made several of the same.

use super::messages::Message;

/// Largest table that is filled to find the fewest differences; beyond it, messages are paired as they come.
const CELLS: usize = 1 << 20;

/// A message of the old one, and the one of the new one that took its place.
pub(super) type Pair<'a, 'm> = (Option<&'a Message<'m>>, Option<&'a Message<'m>>);

/// Pairs messages in order, so that they differ the least.
pub(super) fn align<'a, 'm>(old: &'a [Message<'m>], new: &'a [Message<'m>]) -> Vec<Pair<'a, 'm>> {
    let before = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[before..], &new[before..]);
    let after = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old_middle, old_end) = old_rest.split_at(old_rest.len() - after);
    let (new_middle, new_end) = new_rest.split_at(new_rest.len() - after);

    let both = |(old, new)| (Some(old), Some(new));
    let mut pairs: Vec<Pair<'_, '_>> = old[..before].iter().zip(&new[..before]).map(both).collect();
    if old_middle.len().min(new_middle.len()) == 0 || (old_middle.len() + 1) * (new_middle.len() + 1) > CELLS {
        let longer = old_middle.len().max(new_middle.len());
        pairs.extend((0..longer).map(|number| (old_middle.get(number), new_middle.get(number))));
    } else {
        fewest(old_middle, new_middle, &mut pairs);
    }
    pairs.extend(old_end.iter().zip(new_end).map(both));
    pairs
}

/// The cost of one without the other.
const ALONE: u32 = 2;

/// The cost of one in the place of the other: less than that of both alone, and less still with key and time in common.
fn cost(old: &Message<'_>, new: &Message<'_>) -> u32 {
    if old == new {
        0
    } else if old.key == new.key && old.timestamp == new.timestamp {
        2
    } else {
        3
    }
}

/// The edit distance, and the way that leads to it.
fn fewest<'a, 'm>(old: &'a [Message<'m>], new: &'a [Message<'m>], pairs: &mut Vec<Pair<'a, 'm>>) {
    let width = new.len() + 1;
    // What the rest costs from the `i`-th of the old ones and the `j`-th of the new ones on.
    let mut rest = vec![0_u32; (old.len() + 1) * width];
    for i in (0..=old.len()).rev() {
        for j in (0..=new.len()).rev() {
            rest[i * width + j] = match (old.get(i), new.get(j)) {
                (Some(one), Some(other)) => {
                    let paired = rest[(i + 1) * width + j + 1] + cost(one, other);
                    let alone = rest[(i + 1) * width + j].min(rest[i * width + j + 1]) + ALONE;
                    paired.min(alone)
                }
                (Some(_), None) => rest[(i + 1) * width + j] + ALONE,
                (None, Some(_)) => rest[i * width + j + 1] + ALONE,
                (None, None) => 0,
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let here = rest[i * width + j];
        match (old.get(i), new.get(j)) {
            (Some(one), Some(other)) if here == rest[(i + 1) * width + j + 1] + cost(one, other) => {
                pairs.push((Some(one), Some(other)));
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other) if other.is_none() || here == rest[(i + 1) * width + j] + ALONE => {
                pairs.push((Some(one), None));
                i += 1;
            }
            (_, other) => {
                pairs.push((None, other));
                j += 1;
            }
        }
    }
}
