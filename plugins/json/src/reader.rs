//! Reads objects down to their leaves, and remembers their shape.
//!
//! Messages of one stream mostly differ in their values alone. What stands between the values (brackets,
//! keys, white space) is therefore compared with what stood there in the last text, eight bytes a step, and
//! only the values are scanned. A text of another shape is read again from its start, key by key.
//! Two leaves of one name are refused.

use std::ops::Range;

use crate::value::{common, value};
use crate::word::load;
use crate::{Error, Kind, Scanner, Token};

/// Bytes of all names together. Long keys around many members would make them grow with the square of the text.
const NAMES: usize = 1 << 20;

/// Whether a text had the shape of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The same names in the same order.
    Same,
    /// Look the names up again.
    New,
}

/// Reads one text after the other. A leaf is a value that is no object with members.
#[derive(Debug, Clone)]
pub struct Reader {
    /// What joins the keys of nested objects; `None` makes leaves of the outermost members, whatever they are.
    separator: Option<String>,
    shape: Shape,
    /// What the next shape is built in, so that a bad text does not spoil the present one.
    draft: Shape,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Default)]
struct Shape {
    /// Empty before the first text; every known shape has at least its closing bracket.
    words: Vec<Word>,
    leaves: Vec<Leaf>,
    /// What follows the last leaf.
    tail: Literal,
    names: String,
    /// The leaves in the order of their names.
    order: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Leaf {
    before: Literal,
    name: Range<usize>,
    /// How many objects are around it.
    depth: usize,
}

/// Text that stands between two values: its end in `words`, and its length in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Literal {
    words: usize,
    length: usize,
}

/// Up to eight bytes of a literal, and ones where there are any.
#[derive(Debug, Clone, Copy)]
struct Word {
    bytes: u64,
    mask: u64,
}

impl Reader {
    /// Leaves at any depth, named by their keys joined with `separator`: `{"a":{"b":1}}` has the leaf `a_b`.
    pub fn deep(separator: &str) -> Self {
        Self::new(Some(separator.to_owned()))
    }

    /// The members of the outermost object alone; objects in it are leaves.
    pub fn flat() -> Self {
        Self::new(None)
    }

    fn new(separator: Option<String>) -> Self {
        Self { separator, shape: Shape::default(), draft: Shape::default(), tokens: Vec::new() }
    }

    /// Reads `text`, one JSON object. After an error the names are those of the last good text, and there
    /// are no tokens to rely on.
    #[inline]
    pub fn read(&mut self, text: &[u8]) -> Result<Seen, Error> {
        if self.follow(text).is_some() {
            return Ok(Seen::Same);
        }
        let learnt = self.learn(text);
        // After an error the shape is still the last one; `follow` needs a token for each of its leaves.
        self.tokens.resize(self.shape.leaves.len(), Token::new(Kind::Null, 0, 0));
        learnt.map(|()| Seen::New)
    }

    /// The values of the leaves in the order of the text just read.
    #[inline]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// How many leaves the shape has.
    pub fn len(&self) -> usize {
        self.shape.leaves.len()
    }

    /// Whether the object has no leaf at all.
    pub fn is_empty(&self) -> bool {
        self.shape.leaves.is_empty()
    }

    /// The name of the leaf at `index`, unescaped.
    pub fn name(&self, index: usize) -> &str {
        &self.shape.names[self.shape.leaves[index].name.clone()]
    }

    /// The index of the leaf called `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        let order = &self.shape.order;
        let at = order.binary_search_by(|leaf| self.name(*leaf as usize).cmp(name)).ok()?;
        Some(order[at] as usize)
    }

    /// Reads a text of the known shape; `None` if it has another, or a mistake.
    #[inline]
    fn follow(&mut self, text: &[u8]) -> Option<()> {
        let Self { shape, tokens, separator, .. } = self;
        let mut words = 0;
        let mut at = 0;
        for (leaf, token) in shape.leaves.iter().zip(tokens.iter_mut()) {
            let start = at + leaf.before.length;
            matches(text, at, shape.words.get(words..leaf.before.words)?)?;
            words = leaf.before.words;
            if let Some((kind, end)) = common(text, start) {
                *token = Token::new(kind, start, end);
                at = end;
                continue;
            }
            *token = value(text, start, leaf.depth).ok()?;
            at = token.end();
            if token.kind == Kind::Object && separator.is_some() && has_members(text, start) {
                return None;
            }
        }
        let tail = shape.words.get(words..).filter(|tail| !tail.is_empty())?;
        matches(text, at, tail)?;
        (at + shape.tail.length == text.len()).then_some(())
    }

    /// Reads a text key by key, and remembers its shape.
    #[inline(never)]
    fn learn(&mut self, text: &[u8]) -> Result<(), Error> {
        self.tokens.clear();
        self.draft.clear();
        let mut scanner = Scanner::new(text);
        scanner.enter()?;
        let mut path = String::new();
        let mut around = Vec::new();
        let mut end = 0;
        loop {
            let Some(key) = scanner.key()? else {
                // The end of an object: its key goes, and so does the separator before the next.
                let Some(length) = around.pop() else { break };
                path.truncate(length);
                continue;
            };
            let length = path.len();
            // The scanner has checked that keys are UTF-8.
            path.push_str(std::str::from_utf8(&key.content(text)).unwrap_or_default());
            if let Some(separator) = self.separator.as_ref().filter(|_| scanner.has_members()) {
                path.push_str(separator);
                around.push(length);
                scanner.enter()?;
                continue;
            }
            let depth = scanner.depth();
            let value = scanner.value()?;
            if self.draft.names.len() + path.len() > NAMES {
                return Err(Error { byte: key.start(), what: "names of more than 1 MiB together" });
            }
            self.draft.leaf(&text[end..value.start()], &path, depth);
            self.tokens.push(value);
            path.truncate(length);
            end = value.end();
        }
        scanner.end()?;
        self.draft.tail = self.draft.literal(&text[end..]);
        if let Some(leaf) = self.draft.sort() {
            return Err(Error { byte: self.tokens[leaf].start(), what: "a second value of the same name" });
        }
        std::mem::swap(&mut self.shape, &mut self.draft);
        Ok(())
    }
}

impl Shape {
    fn clear(&mut self) {
        self.words.clear();
        self.leaves.clear();
        self.names.clear();
        self.order.clear();
    }

    fn leaf(&mut self, before: &[u8], name: &str, depth: usize) {
        let start = self.names.len();
        self.names.push_str(name);
        let before = self.literal(before);
        self.leaves.push(Leaf { before, name: start..self.names.len(), depth });
    }

    fn literal(&mut self, text: &[u8]) -> Literal {
        let words = text.chunks(8).map(|chunk| {
            let mask = u64::MAX >> (64 - 8 * chunk.len());
            Word { bytes: load(chunk, 0), mask }
        });
        self.words.extend(words);
        Literal { words: self.words.len(), length: text.len() }
    }

    /// Puts the names in order; answers a leaf whose name was there before.
    fn sort(&mut self) -> Option<usize> {
        let Self { order, leaves, names, .. } = self;
        let name = |leaf: u32| &names[leaves[leaf as usize].name.clone()];
        order.extend(0..leaves.len() as u32);
        order.sort_by(|a, b| name(*a).cmp(name(*b)));
        order.windows(2).find(|pair| name(pair[0]) == name(pair[1])).map(|pair| pair[1] as usize)
    }
}

/// Whether the words stand in `text` from `at`. No literal has zeros, which is what `load` gives past the end.
#[inline(always)]
fn matches(text: &[u8], mut at: usize, words: &[Word]) -> Option<()> {
    for word in words {
        if (load(text, at) ^ word.bytes) & word.mask != 0 {
            return None;
        }
        at += 8;
    }
    Some(())
}

/// Whether the object at `start`, known to be good, is more than `{}`.
#[inline(never)]
fn has_members(text: &[u8], start: usize) -> bool {
    text.get(crate::value::space(text, start + 1)) != Some(&b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(reader: &mut Reader, text: &str) -> Result<(Seen, Vec<(String, String)>), Error> {
        let seen = reader.read(text.as_bytes())?;
        let raw = |token: &Token| String::from_utf8_lossy(token.raw(text.as_bytes())).into_owned();
        let values = reader.tokens().iter().map(raw);
        assert_eq!(reader.len(), reader.tokens().len());
        Ok((seen, (0..reader.len()).map(|leaf| reader.name(leaf).to_owned()).zip(values).collect()))
    }

    fn expect(reader: &mut Reader, text: &str, seen: Seen, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(leaves(reader, text), Ok((seen, expected)), "{text}");
    }

    #[test]
    fn a_shape_is_followed_and_left() {
        let reader = &mut Reader::deep("_");
        let text = r#" {"a": {"b": 1, "c": "x"}, "d": [1, {"e": 2}], "f": {} } "#;
        let expected = [("a_b", "1"), ("a_c", "\"x\""), ("d", "[1, {\"e\": 2}]"), ("f", "{}")];
        expect(reader, text, Seen::New, &expected);
        expect(reader, text, Seen::Same, &expected);
        let other = r#" {"a": {"b": null, "c": 1.5e3}, "d": "grün \" or not", "f": true } "#;
        let expected = [("a_b", "null"), ("a_c", "1.5e3"), ("d", "\"grün \\\" or not\""), ("f", "true")];
        expect(reader, other, Seen::Same, &expected);
        let members = r#" {"a": {"b": null, "c": 1.5e3}, "d": 1, "f": {"g": 1} } "#;
        expect(reader, members, Seen::New, &[("a_b", "null"), ("a_c", "1.5e3"), ("d", "1"), ("f_g", "1")]);
        expect(reader, "{}", Seen::New, &[]);
        expect(reader, "{}", Seen::Same, &[]);
        assert_eq!((reader.find("a_b"), reader.is_empty()), (None, true));
    }

    #[test]
    fn a_bad_text_is_refused_where_it_is_and_changes_nothing() {
        let reader = &mut Reader::deep("_");
        expect(reader, r#"{"a":1,"b":{"c":2}}"#, Seen::New, &[("a", "1"), ("b_c", "2")]);
        for (bad, byte, what) in [
            ("", 0, "the end of the text where an object should be"),
            ("  null", 2, "null instead of an object"),
            ("[1]", 0, "an array instead of an object"),
            ("nul", 0, "something that is no value"),
            (r#"{"a":1,"b":{"c":2}"#, 18, "no comma or closing bracket after a value"),
            (r#"{"a":1,"b":2,"c":3,"d":4"#, 24, "no comma or closing bracket after a value"),
            (r#"{"a":1,"b":{"c":2}}}"#, 19, "more text after the object"),
            (r#"{"a":1,"b":{"c":2}} x"#, 20, "more text after the object"),
            (r#"{"a":01,"b":{"c":2}}"#, 6, "no comma or closing bracket after a value"),
            (r#"{"a":1,"b":{"c":}}"#, 16, "something that is no value"),
            (r#"{"a":1,"a":2}"#, 11, "a second value of the same name"),
            (r#"{"b_c":1,"b":{"c":2}}"#, 18, "a second value of the same name"),
            (r#"{"b_c":1,"b":{"\u0063":2}}"#, 23, "a second value of the same name"),
        ] {
            assert_eq!(leaves(reader, bad), Err(Error { byte, what }), "{bad}");
            // What was learnt before still holds.
            assert_eq!(reader.find("b_c"), Some(1));
            expect(reader, r#"{"a":3,"b":{"c":4}}"#, Seen::Same, &[("a", "3"), ("b_c", "4")]);
        }
    }

    #[test]
    fn depth_and_names_are_bounded() {
        let nest = |depth: usize| "{\"k\":".repeat(depth) + "1" + &"}".repeat(depth);
        let reader = &mut Reader::deep("_");
        assert!(reader.read(nest(64).as_bytes()).is_ok());
        assert_eq!(reader.read(nest(65).as_bytes()).map_err(|error| error.what), Err("nesting deeper than 64"));
        assert!(Reader::flat().read(nest(64).as_bytes()).is_ok());
        let members: Vec<String> = (0..20_000).map(|i| format!("\"{i}\":1")).collect();
        let long = format!("{{\"{}\":{{{}}}}}", "k".repeat(100_000), members.join(","));
        assert_eq!(reader.read(long.as_bytes()).map_err(|error| error.what), Err("names of more than 1 MiB together"));
    }

    #[test]
    fn flat_reads_the_outermost_members() {
        let reader = &mut Reader::flat();
        expect(reader, r#"{"a":{"b":1},"c":2}"#, Seen::New, &[("a", "{\"b\":1}"), ("c", "2")]);
        expect(reader, r#"{"a":{"b":[]},"c":2}"#, Seen::Same, &[("a", "{\"b\":[]}"), ("c", "2")]);
        assert_eq!((reader.find("c"), reader.find("b")), (Some(1), None));
    }
}
