//! Random nested objects against a slow flattening of serde_json's tree. `SEED=n` repeats a run.

use serde_json::{Map, Value, json};

use crate::{flatten, open};

/// A small random generator (xorshift), so that a printed seed repeats a run anywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => json!(self.below(1 << 50)),
            1 => json!(-(self.below(1000) as f64) / 64.0),
            2 => json!(
                ["", "short", "quite a bit longer than a step of thirty-two bytes", "ü\"\\\n\u{1}"][self.below(4)]
            ),
            3 => json!([null, self.below(9), {"in": "an array"}]),
            4 => json!([true, false][self.below(2)]),
            5 => Value::Null,
            _ => self.object(depth - 1),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let keys = ["a", "b", "a_b", "long key that is more than a word", "\"é\\", "c"];
        Value::Object((0..self.below(5)).map(|_| (keys[self.below(6)].to_owned(), self.value(depth))).collect())
    }
}

/// `None` where two leaves have one name.
fn reference(value: &Map<String, Value>, prefix: &str, flat: &mut Map<String, Value>) -> Option<()> {
    for (key, value) in value {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(inner) if !inner.is_empty() => reference(inner, &format!("{name}_"), flat)?,
            value if flat.insert(name, value.clone()).is_some() => return None,
            _ => {}
        }
    }
    Some(())
}

#[test]
fn flattening_says_what_the_reference_says() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("SEED={seed}");
    let mut random = Random(seed | 1);
    // Each value twice: the second one follows the shape of the first.
    let objects: Vec<Value> =
        (0..2_000).map(|_| random.object(4)).flat_map(|object| [object.clone(), object]).collect();
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    let (mut flattened, mut doubled) = (0, 0);
    for (object, outcome) in objects.iter().zip(flatten(&mut open(""), &texts)) {
        let mut expected = Map::new();
        let unique = reference(object.as_object().expect("an object"), "", &mut expected);
        match (unique, outcome) {
            (Some(()), Ok((text, _))) => {
                flattened += 1;
                let found: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                assert_eq!(found, Value::Object(expected), "SEED={seed}");
            }
            (None, Err(reason)) => {
                doubled += 1;
                assert!(reason.contains("a second value of the same name"), "SEED={seed} {reason}");
            }
            (_, outcome) => panic!("SEED={seed} {object}: {outcome:?}"),
        }
    }
    assert!(flattened > 1_000 && doubled > 10, "both were tried: {flattened}, {doubled}");
}
