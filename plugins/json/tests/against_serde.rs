//! The same texts are accepted and refused as by serde_json, and say the same: on random JSON, mutations of
//! it and its beginnings. `SEED=n` repeats a run.

use apogee_json::{Error, Reader};
use serde_json::Value;

/// A small random generator (xorshift), so that a printed seed repeats a run anywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn space(&mut self) -> &'static str {
        if self.below(4) > 0 { "" } else { self.pick(&[" ", "  ", "\n", "\t", "\r\n ", ""]) }
    }

    fn string(&mut self) -> String {
        let pieces = [
            "a",
            "b",
            "k",
            "_",
            "long enough for words",
            "ü",
            "日本",
            "🚀",
            "\\n",
            "\\\"",
            "\\\\",
            "\\/",
            "\\u0041",
            "\\ud83d\\ude80",
            "\\u00e9",
            " ",
            "-85.6433",
            "\u{7f}",
        ];
        let length = self.below(4);
        format!("\"{}\"", (0..length).map(|_| self.pick(&pieces)).collect::<String>())
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.string(),
            1 => self.pick(&["null", "true", "false"]).to_owned(),
            2 => format!("{}", self.below(1 << 40)),
            3 => self
                .pick(&["0", "-0", "-1", "1.5", "-85.6433", "1e5", "2E-3", "1.25e+10", "123456789012345678901"])
                .to_owned(),
            4 => format!("-{}.{}", self.below(1000), self.below(1 << 40)),
            5 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.spaced(depth)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            _ => self.object(depth - 1),
        }
    }

    fn spaced(&mut self, depth: usize) -> String {
        format!("{}{}{}", self.space(), self.value(depth - 1), self.space())
    }

    fn object(&mut self, depth: usize) -> String {
        let members: Vec<_> = (0..self.below(4))
            .map(|_| {
                let key = self.string();
                format!("{}{key}{}:{}{}{}", self.space(), self.space(), self.space(), self.value(depth), self.space())
            })
            .collect();
        format!("{{{}{}}}", self.space(), members.join(","))
    }

    /// One byte changed, put in, taken out or doubled up, or the end cut off.
    fn mutate(&mut self, text: &mut Vec<u8>) {
        let alphabet = b"{}[]:,\"\\/u0019.eE+-tfn \n\x00\x1f\x7f\x80\xc3\xff";
        let byte = alphabet[self.below(alphabet.len())];
        let at = self.below(text.len() + 1);
        match self.below(4) {
            0 if at < text.len() => text[at] = byte,
            1 => text.insert(at, byte),
            2 if at < text.len() => drop(text.remove(at)),
            _ => text.truncate(at),
        }
    }
}

/// Whether the text is a JSON object; two equal names are a question of meaning, not of JSON.
fn accepted(result: Result<(), Error>) -> bool {
    match result {
        Err(error) => error.what == "a second value of the same name",
        Ok(()) => true,
    }
}

/// `None` where serde_json stopped at a number that fits no float, which is JSON all the same.
fn serde_accepts(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => Some(value.is_object()),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

/// What was read equals what serde_json reads.
fn says_the_same(reader: &Reader, text: &[u8]) {
    let Ok(Value::Object(expected)) = serde_json::from_slice(text) else {
        return;
    };
    assert_eq!(reader.len(), expected.len());
    for (leaf, token) in reader.tokens().iter().enumerate() {
        let value: Value = serde_json::from_slice(token.raw(text)).expect("a token is JSON");
        assert_eq!(value, expected[reader.name(leaf)]);
        if let Value::String(string) = value {
            assert_eq!(string.as_bytes(), &*token.content(text));
        }
    }
}

#[test]
fn the_same_texts_are_accepted_and_refused() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    println!("SEED={seed}");
    let mut random = Random(seed | 1);
    let (mut deep, mut flat) = (Reader::deep("_"), Reader::flat());
    let (mut good, mut bad) = (0, 0);
    for _ in 0..2_000 {
        let mut text = format!("{}{}{}", random.space(), random.object(4), random.space()).into_bytes();
        let original = text.clone();
        for step in 0..12 {
            let Some(expected) = serde_accepts(&text) else {
                break;
            };
            let shown = String::from_utf8_lossy(&text).into_owned();
            assert!(step > 0 || expected, "the generator makes JSON: {shown}");
            // Twice: the second time along the shape of the first.
            for _ in 0..2 {
                let result = deep.read(&text).map(drop);
                assert_eq!(accepted(result), expected, "SEED={seed} {result:?}: {shown}");
                let result = flat.read(&text).map(drop);
                assert_eq!(accepted(result), expected, "SEED={seed} {result:?}: {shown}");
                if result.is_ok() {
                    says_the_same(&flat, &text);
                }
            }
            if expected {
                good += 1
            } else {
                bad += 1
            }
            if step % 4 == 3 {
                text.clone_from(&original);
            }
            random.mutate(&mut text);
        }
    }
    assert!(good > 4_000 && bad > 4_000, "both kinds were tried: {good} good, {bad} bad");
}

#[test]
fn every_beginning_of_a_text_is_refused() {
    let text = r#"{"iss": {"é\u0041": "-85.6433\n", "b": [1, -2.5e3, {"c": null}]}, "t": 1690000000, "ok": true}"#;
    let mut reader = Reader::deep("_");
    for end in 0..text.len() {
        assert!(reader.read(text.as_bytes()).is_ok());
        let result = reader.read(&text.as_bytes()[..end]);
        assert!(result.is_err(), "{}", &text[..text.floor_char_boundary(end)]);
    }
}
