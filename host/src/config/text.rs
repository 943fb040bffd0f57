//! Text from files, arguments and networks, made fit for an error message: bounded, escaped, and
//! with the nearest known word beside a mistyped one.

/// `text` with everything unprintable escaped, cut after `limit` characters.
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}

/// The candidate that `word` is most likely meant to be; `None` when none is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A third of the letters may differ: `evry`, `partions`, `dead_leters`, but not `x` for `csv`.
    let tolerance = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "…"?`, or nothing.
pub fn did_you_mean(suggestion: Option<impl std::fmt::Display>) -> String {
    suggestion.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_bounded_and_harmless() {
        assert_eq!(excerpt("a\u{1b}[31m\"b\"", 20), "a\\u{1b}[31m\"b\"");
        assert_eq!(excerpt(&"x".repeat(1_000), 3), "xxx…");
    }

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("evry", ["via", "every"]), Some("every"));
        assert_eq!(nearest("htpp", ["kafka", "http", "file"]), Some("http"));
        assert_eq!(nearest("period", ["via", "every"]), None);
        assert_eq!(nearest("x", ["a"]), None);
    }
}
