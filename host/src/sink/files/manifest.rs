//! The manifest: one numbered file that says all about one checkpoint of one partition, with a checksum over itself.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::place::{self, Content};
use super::segment::Segment;
use crate::checkpoint::Checkpoint;

/// What holds from this number on, until there is a higher one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub number: u64,
    /// The sink that wrote it.
    pub owner: String,
    /// `None` before the first commit.
    pub checkpoint: Option<Checkpoint>,
    /// The files of output that it makes visible, in this order. There was one at most before there could be several.
    #[serde(deserialize_with = "one_or_several")]
    pub output: Vec<Output>,
    /// The state, the newest segment last.
    pub segments: Vec<Segment>,
}

/// A file of output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name in the sink's place.
    pub name: String,
    /// What it is known as in the partition's folder until it is visible; where it is not said, the manifest's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    pub content: Content,
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Output>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Several(Vec<Output>),
        One(Option<Output>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Several(output) => output,
        Written::One(output) => output.into_iter().collect(),
    })
}

/// What the names of unfinished output end in.
pub const PART: &str = "part";

/// A manifest as it is in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    /// Of the manifest's bytes, in hexadecimal.
    xxh3: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

impl Manifest {
    /// What its owner's next manifest begins with.
    pub fn next(&self, owner: &str) -> Self {
        Self { number: self.number + 1, owner: owner.to_owned(), output: Vec::new(), ..self.clone() }
    }

    pub fn file_name(number: u64) -> String {
        format!("{number:020}.json")
    }

    /// The name of a file that belongs to this manifest. Another manifest never gives the same: the numbers of one
    /// owner grow, and of two owners the names differ.
    pub fn name(&self, extension: &str) -> String {
        format!("{:020}-{}.{extension}", self.number, self.owner)
    }

    /// What a file of its output is known as until it is visible.
    pub fn part(&self, output: &Output) -> String {
        output.part.clone().unwrap_or_else(|| self.name(PART))
    }

    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let manifest = serde_json::value::to_raw_value(self)?;
        let xxh3 = format!("{:016x}", place::hash(manifest.get().as_bytes()));
        serde_json::to_vec(&Written { xxh3, manifest: &manifest })
    }

    /// Reads the manifest with this number; says what is wrong with it otherwise.
    pub fn decode(bytes: &[u8], number: u64) -> Result<Self, String> {
        let damaged = |error: serde_json::Error| format!("it is damaged: {error}");
        let written: Written<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
        let found = format!("{:016x}", place::hash(written.manifest.get().as_bytes()));
        if found != written.xxh3 {
            return Err("it is damaged: its checksum is wrong".to_owned());
        }
        let manifest: Self = serde_json::from_str(written.manifest.get()).map_err(damaged)?;
        if manifest.number == number { Ok(manifest) } else { Err(format!("it is number {}", manifest.number)) }
    }
}

/// The number that the name of a file in a partition's folder begins with.
pub fn number(name: &str) -> Option<u64> {
    name.get(..20).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_damaged_manifest_is_read_as_another_one() {
        let content = Content { bytes: 3, xxh3: u64::MAX };
        let manifest = Manifest {
            number: 7,
            owner: "0123456789abcdef".to_owned(),
            checkpoint: None,
            output: vec![Output { name: "a-0-5.csv".to_owned(), part: None, content }],
            segments: vec![Segment { name: "s".to_owned(), content }],
        };
        let good = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&good, 7).unwrap(), manifest);
        assert_eq!(Manifest::decode(&good, 8).unwrap_err(), "it is number 7");
        for length in 0..good.len() {
            Manifest::decode(&good[..length], 7).unwrap_err();
        }
        for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(Manifest::decode(&bad, 7).is_err(), "{}", String::from_utf8_lossy(&bad));
        }
    }

    #[test]
    fn a_manifest_from_when_there_was_one_file_is_read_as_one_of_one() {
        let manifest = |output: &str| {
            let text = format!(r#"{{"number":7,"owner":"o","checkpoint":null,"output":{output},"segments":[]}}"#);
            let bytes = format!(r#"{{"xxh3":"{:016x}","manifest":{text}}}"#, place::hash(text.as_bytes()));
            Manifest::decode(bytes.as_bytes(), 7).unwrap()
        };
        let one = manifest(r#"{"name":"a-0-5.csv","content":{"bytes":3,"xxh3":4}}"#);
        assert_eq!(one.part(&one.output[0]), "00000000000000000007-o.part");
        assert_eq!((one.output[0].name.as_str(), manifest("null").output), ("a-0-5.csv", vec![]));
    }

    #[test]
    fn names_tell_their_number() {
        assert_eq!(number(&Manifest::file_name(42)), Some(42));
        assert_eq!(number("00000000000000000043-0123456789abcdef.part"), Some(43));
        assert!(["", "42", "+0000000000000000042", "a.json", "99999999999999999999.json"].map(number) == [None; 5]);
    }
}
