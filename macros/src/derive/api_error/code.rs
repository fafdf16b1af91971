//! Codes and titles of problems.
//!
//! The runtime's `agreement.rs` includes this file and compares it with the runtime's codes.

/// Returns true if a text is a code: `[A-Z][A-Z0-9_]+`.
pub(crate) fn is_code(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() >= 2
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(is_allowed)
}

/// Converts `InsufficientFunds` into `INSUFFICIENT_FUNDS`, and `HTTPError2` into `HTTP_ERROR2`.
pub(crate) fn screaming_snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut code = String::new();
    for (index, &character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(index + 1);
        let begins_word = character.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() && before != '_'
                    || before.is_uppercase() && after.is_some_and(|c| c.is_lowercase())
            });
        if begins_word {
            code.push('_');
        }
        code.extend(character.to_uppercase());
    }
    code
}

/// Returns the title of a code: `Insufficient funds` for `INSUFFICIENT_FUNDS`. If the code is a
/// code of the framework, returns the framework's title.
pub(crate) fn title(code: &str) -> String {
    if let Some((_, title)) = TITLES.iter().find(|(framework, _)| *framework == code) {
        return (*title).to_owned();
    }
    let lower = code.to_lowercase().replace('_', " ");
    let mut characters = lower.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// The framework's codes that an error can reuse, and whose titles do not follow from the codes.
const TITLES: [(&str, &str); 6] = [
    ("IDEMPOTENCY_IN_FLIGHT", "Request in flight"),
    ("IDEMPOTENCY_OUTCOME_UNKNOWN", "Outcome unknown"),
    ("IDEMPOTENCY_RESPONSE_NOT_RETAINED", "Response not retained"),
    ("RATE_LIMITED", "Too many requests"),
    ("MALFORMED_JSON", "Malformed JSON"),
    ("INTERNAL", "Internal error"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_codes_and_titles() {
        for (name, code) in [
            ("InsufficientFunds", "INSUFFICIENT_FUNDS"),
            ("NotFound", "NOT_FOUND"),
            ("HTTPError2", "HTTP_ERROR2"),
            ("Http2Error", "HTTP2_ERROR"),
            ("IoError", "IO_ERROR"),
            ("A", "A"),
            ("with_underscore", "WITH_UNDERSCORE"),
        ] {
            assert_eq!(screaming_snake(name), code);
        }
        assert_eq!(title("INSUFFICIENT_FUNDS"), "Insufficient funds");
        assert_eq!(title("INTERNAL"), "Internal error");
    }

    #[test]
    fn f03_codes_are_upper_case() {
        for code in ["AB", "INSUFFICIENT_FUNDS", "E42"] {
            assert!(is_code(code), "{code}");
        }
        for code in ["", "A", "1A", "_A", "insufficient", "A-B", "A B", "Ä1"] {
            assert!(!is_code(code), "{code}");
        }
    }
}
