//! "Did you mean …?"

/// The candidate that a mistyped word most likely meant, if any is near.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (likeness(&word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.82)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Words that begin alike are alike, and so are those that differ in one letter.
fn likeness(word: &str, candidate: &str) -> f64 {
    let near = word.len() >= 3 && strsim::damerau_levenshtein(word, candidate) == 1;
    strsim::jaro_winkler(word, candidate).max(if near { 0.9 } else { 0.0 })
}

/// What to write instead of an unknown word: the nearest, or all.
pub(crate) fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("accepted: {}", list(candidates)),
    }
}

/// `` `a`, `b`, `c` ``
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words
        .into_iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let keys = ["idempotent", "not_idempotent", "rate_limit", "timeout"];
        assert_eq!(nearest("idempotant", keys), Some("idempotent"));
        assert_eq!(nearest("ratelimit", keys), Some("rate_limit"));
        assert_eq!(nearest("TIMEOUT", keys), Some("timeout"));
        assert_eq!(nearest("tll", ["ttl", "optional"]), Some("ttl"));
        assert_eq!(nearest("cache", keys), None);
        assert_eq!(suggestion("cache", ["a", "b"]), "accepted: `a`, `b`");
    }
}
