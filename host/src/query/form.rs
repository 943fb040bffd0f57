//! The form of an answer that a caller wants, by `Accept`.

/// Which form a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv,
}

impl Form {
    /// What `Accept` asks for: the one with the higher quality, JSON where both have the same; `None` where neither will
    /// do. Of the ranges that a form is in, the narrowest counts (RFC 9110, section 12.5.1).
    pub fn of(accept: &str) -> Option<Self> {
        if accept.trim().is_empty() {
            return Some(Self::Json);
        }
        let quality = |wanted: &str| {
            let (kind, _) = wanted.split_once('/').unwrap_or_default();
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next()?.to_ascii_lowercase();
                let narrow = match name.as_str() {
                    "*/*" => 0,
                    name if name == format!("{kind}/*") => 1,
                    name if name == wanted => 2,
                    _ => return None,
                };
                let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
                let quality: f32 = quality.map_or(Some(1.0), |quality| quality.trim().parse().ok())?;
                Some((narrow, quality))
            });
            ranges.max_by_key(|(narrow, _)| *narrow).map_or(0.0, |(_, quality)| quality)
        };
        let (json, csv) = (quality("application/json"), quality("text/csv"));
        if csv > json { Some(Self::Csv) } else { (json > 0.0).then_some(Self::Json) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_wanted_most() {
        let forms = [
            ("", Some(Form::Json)),
            ("*/*", Some(Form::Json)),
            ("text/csv", Some(Form::Csv)),
            ("TEXT/CSV; header=present", Some(Form::Csv)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Form::Json)),
            ("application/json;q=0.5, text/*;q=0.6", Some(Form::Csv)),
            ("text/csv;q=0.4, */*;q=0.5", Some(Form::Json)),
            ("text/csv;q=0, */*", Some(Form::Json)),
            ("text/csv, application/json", Some(Form::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("text/csv;q=x", None),
        ];
        for (accept, form) in forms {
            assert_eq!(Form::of(accept), form, "{accept}");
        }
    }
}
