//! The folder that a message goes into, as a template says: `{STATION}/{date}` has a field of the message, and the date
//! of its event time (UTC); `{hour}` is the hour.
//!
//! A message can never name a folder outside the one that the template gives it a part of: a value is a part of one name,
//! and one that could be more, or hide what it names, is refused.

use std::fmt;

use apogee_json::{Kind, Reader};

use crate::config::text::excerpt;

/// Most bytes of what a field puts into a path.
const VALUE: usize = 100;

/// Most bytes of one name in a path, which is what file systems take, and of all of them, so that with what is around
/// them they are an object's key.
const NAME: usize = 255;
const PATH: usize = 700;

/// A folder with fields in it.
#[derive(Clone, PartialEq)]
pub struct Template {
    text: String,
    /// The names of the path, from the top, each of one or more pieces.
    names: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Field(String),
    Date,
    Hour,
}

impl Template {
    /// Reads a template; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Err("a path is below the sink's folder; write it without the first \"/\"".to_owned());
        }
        let names = text.split('/').map(name).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), names })
    }

    /// The names of the fields in it.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

fn name(text: &str) -> Result<Vec<Piece>, String> {
    match text {
        "" => {
            return Err("a path has a name between two \"/\", and none at its end; write such as \"{STATION}/{date}\""
                .to_owned());
        }
        "." | ".." => return Err(format!("{text:?} leaves the sink's folder; leave it out")),
        _ if text.starts_with(['.', '_']) => {
            return Err(format!(
                "{:?} would be hidden from readers; begin it with another character",
                excerpt(text, 50)
            ));
        }
        _ => {}
    }
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (before, after) = rest.split_once('{').map_or((rest, None), |(before, after)| (before, Some(after)));
        if before.contains('}') {
            return Err("a \"}\" without a \"{\" before it; a field is written as {NAME}".to_owned());
        }
        if before.chars().any(|c| c.is_control() || c == '\\') {
            return Err("a path has no control characters and no backslashes".to_owned());
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        rest = match after.map(|after| after.split_once('}')) {
            None => "",
            Some(None) => return Err("a \"{\" without a \"}\" after it; a field is written as {NAME}".to_owned()),
            Some(Some((field, after))) => {
                pieces.push(match field {
                    "" => return Err("{} names no field; a field is written as {NAME}".to_owned()),
                    "date" => Piece::Date,
                    "hour" => Piece::Hour,
                    _ if field.contains('{') => {
                        return Err("a \"{\" in a \"{\"; a field is written as {NAME}".to_owned());
                    }
                    _ => Piece::Field(field.to_owned()),
                });
                after
            }
        };
    }
    Ok(pieces)
}

/// As it was written.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Fills a template with what messages say.
pub struct Filler {
    template: Template,
    reader: Reader,
}

impl Filler {
    pub fn new(template: Template) -> Self {
        Self { template, reader: Reader::flat() }
    }

    /// The folder of a message with this time, in milliseconds since the Unix epoch; or why it has none.
    pub fn fill(&mut self, message: &[u8], time: i64) -> Result<String, String> {
        self.reader.read(message).map_err(|error| error.to_string())?;
        let time = jiff::Timestamp::from_millisecond(time).map_err(|error| error.to_string())?;
        let mut path = String::new();
        for pieces in &self.template.names {
            if !path.is_empty() {
                path.push('/');
            }
            let start = path.len();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => path.push_str(text),
                    Piece::Date => path.push_str(&time.strftime("%Y-%m-%d").to_string()),
                    Piece::Hour => path.push_str(&time.strftime("%H").to_string()),
                    Piece::Field(field) => path.push_str(&value(&self.reader, field, message)?),
                }
            }
            if path.len() - start > NAME || path.len() > PATH {
                let shown = excerpt(&path[start..], 50);
                return Err(format!("the path of its file is too long: {shown:?} of {} bytes", path.len() - start));
            }
        }
        Ok(path)
    }
}

/// The value of a field, as a part of a name.
fn value(reader: &Reader, field: &str, message: &[u8]) -> Result<String, String> {
    let token = reader.find(field).map(|place| reader.tokens()[place]).filter(|token| token.kind != Kind::Null);
    let token = token.ok_or_else(|| format!("no field {field:?}, which the path of its file needs"))?;
    let content = token.content(message);
    let refused = |problem: &str| {
        let shown = excerpt(&String::from_utf8_lossy(&content), 50);
        Err(format!("field {field:?} is part of the path of its file, and {shown:?} {problem}"))
    };
    let Ok(text) = str::from_utf8(&content) else { return refused("is not text") };
    if text.is_empty() {
        return refused("is empty");
    }
    if text.len() > VALUE {
        return refused("is longer than 100 bytes");
    }
    if text.starts_with(['.', '_']) {
        return refused("begins as hidden files do");
    }
    if text.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()) {
        return refused("has a slash, a backslash or a control character");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn a_field_that_no_message_has_is_refused_before_any_comes() {
        let mut options = crate::sink::files::Options::new(crate::uri::Location::Directory("out".into()));
        let field = crate::plugin::Field { name: "n".to_owned(), kind: crate::plugin::Kind::Integer, nullable: true };
        for (path, outcome) in [
            ("a/{n}/{date}/{hour}", Ok(())),
            ("{n}/{STATION}", Err("`path` names \"STATION\", and the columns are n".to_owned())),
        ] {
            options.path = Some(Template::parse(path).unwrap());
            assert_eq!(options.check(std::slice::from_ref(&field)), outcome);
        }
    }

    #[test]
    fn a_path_has_the_fields_and_the_time_of_its_message() {
        let mut filler = Filler::new(Template::parse("station={STATION}/{date}T{hour}/{n}").unwrap());
        let path = filler.fill(r#"{"n": 1.5, "STATION": "Caf\u00e9 1"}"#.as_bytes(), 1_692_108_310_000).unwrap();
        assert_eq!(path, "station=Café 1/2023-08-15T14/1.5");
        for (message, problem) in [
            (r#"{"n": 1}"#, "no field \"STATION\""),
            (r#"{"n": 1, "STATION": null}"#, "no field \"STATION\""),
            (r#"{"n": 1, "STATION": ""}"#, "is empty"),
            (r#"{"n": 1, "STATION": "../../x"}"#, "begins as hidden"),
            (r#"{"n": 1, "STATION": "a/../../x"}"#, "has a slash"),
            (r#"{"n": 1, "STATION": "a\\u0000"}"#, "has a slash"),
            (r#"{"n": 1, "STATION": ["/"]}"#, "has a slash"),
            ("[1]", "an array instead of an object"),
        ] {
            let error = filler.fill(message.as_bytes(), 0).unwrap_err();
            assert!(error.contains(problem), "{message}: {error}");
        }
    }

    #[test]
    fn a_path_that_no_disk_takes_is_refused() {
        let value = "x".repeat(VALUE);
        let message = serde_json::json!({ "a": value }).to_string();
        let fill = |template: &str| Filler::new(Template::parse(template).unwrap()).fill(message.as_bytes(), 0);
        assert_eq!(fill("{a}/{a}{a}/{a}{a}/{a}").unwrap().len(), 603);
        for template in ["{a}{a}{a}", &["{a}"; 7].join("/")] {
            assert!(fill(template).unwrap_err().contains("too long"), "{template}");
        }
    }

    #[test]
    fn a_template_stays_below_its_folder() {
        for (text, problem) in [
            ("", "a name between"),
            ("/a", "without the first"),
            ("a//b", "a name between"),
            ("a/", "a name between"),
            ("a/../b", "leaves the sink's folder"),
            ("_a", "hidden"),
            (".apogee/{x}", "hidden"),
            ("{a", "without a \"}\""),
            ("a}", "without a \"{\""),
            ("{a{b}", "in a"),
            ("{}", "names no field"),
            ("a\\b", "no backslashes"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    /// Whatever a field says, its file is in the folder that the rest of the template names.
    #[test]
    fn no_value_leaves_its_folder() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces =
            ["..", ".", "/", "\\", "%2e", "%2F", "~", "\0", "\n", "a", "é", "_", " ", ":", "x".repeat(60).leak()];
        let mut filler = Filler::new(Template::parse("top/{a}/{b}-x").unwrap());
        let (mut kept, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut value =
                || (0..random.usize(0..4)).map(|_| pieces[random.usize(..pieces.len())]).collect::<String>();
            let message = serde_json::json!({ "a": value(), "b": value() }).to_string();
            let Ok(path) = filler.fill(message.as_bytes(), 0) else {
                refused += 1;
                continue;
            };
            kept += 1;
            let names: Vec<Component<'_>> = Path::new(&path).components().collect();
            assert!(names.iter().all(|name| matches!(name, Component::Normal(_))), "{message}: {path}");
            assert!(names.len() == 3 && path.split('/').count() == 3 && path.starts_with("top/"), "{message}: {path}");
            assert!(path.split('/').all(|name| !name.starts_with(['.', '_']) && name.len() < 110), "{message}: {path}");
            assert!(!path.contains(['\\', '\0', '\n']), "{message}: {path}");
        }
        assert!(kept > 100 && refused > 100, "{kept} {refused}");
    }
}
