//! Suggestions for mistyped words: "did you mean …?"

/// Returns the candidate that is most similar to a mistyped word, if any candidate is similar
/// enough.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (similarity(&word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The minimum similarity of a suggestion. Typos such as `ratelimit` are above it, and unrelated
/// words such as `cache` are below it.
const MIN_SIMILARITY: f64 = 0.82;

/// Returns the similarity of two words, from 0 to 1. Words with the same beginning are similar, and
/// so are words that differ in one letter.
fn similarity(word: &str, candidate: &str) -> f64 {
    let one_letter_differs = word.len() >= 3 && strsim::damerau_levenshtein(word, candidate) == 1;
    strsim::jaro_winkler(word, candidate).max(if one_letter_differs { 0.9 } else { 0.0 })
}

/// Returns the end of a message about an unknown word: the nearest candidate, or all candidates.
pub(crate) fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("expected {}", alternatives(candidates)),
    }
}

/// Formats one word as `` `a` ``, and several as `` one of `a`, `b` ``.
fn alternatives<'a>(words: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let is_one = words.clone().into_iter().nth(1).is_none();
    let prefix = if is_one { "" } else { "one of " };
    format!("{prefix}{}", list(words))
}

/// Formats words as `` `a`, `b`, `c` ``.
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
    fn similar_words_are_suggested_and_others_are_not() {
        let keys = ["idempotent", "not_idempotent", "rate_limit", "timeout"];
        assert_eq!(nearest("idempotant", keys), Some("idempotent"));
        assert_eq!(nearest("ratelimit", keys), Some("rate_limit"));
        assert_eq!(nearest("TIMEOUT", keys), Some("timeout"));
        assert_eq!(nearest("tll", ["ttl", "optional"]), Some("ttl"));
        assert_eq!(nearest("cache", keys), None);
        assert_eq!(suggestion("cache", ["a", "b"]), "expected one of `a`, `b`");
        assert_eq!(suggestion("cache", ["a"]), "expected `a`");
    }
}
