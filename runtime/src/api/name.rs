//! The name of an API: its identity in stores.

use crate::start::StartError;
use crate::store::is_namespace;

/// The name, if it is a slug.
///
/// # Errors
///
/// Shows the name, what is accepted, and a slug that is close to it.
pub(super) fn checked(name: &str) -> Result<&str, StartError> {
    if is_namespace(name) {
        return Ok(name);
    }
    let refused = format!(
        "the API's name {name:?} is not a slug: expected 1 to 64 characters of a-z, 0-9 and `-`; write \
         Api::new({:?}, …)",
        suggested(name).as_deref().unwrap_or("payments")
    );
    Err(StartError::new(if name.is_empty() {
        refused
    } else {
        format!("{refused}.title({name:?})")
    }))
}

/// The slug that is closest to a name; `None` if nothing in the name can be kept.
fn suggested(name: &str) -> Option<String> {
    let words = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    slug.truncate(64);
    let slug = slug.trim_end_matches('-');
    (!slug.is_empty()).then(|| slug.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        checked(name).expect_err("not a slug").to_string()
    }

    #[test]
    fn slugs_are_accepted() {
        let longest = "a".repeat(64);
        for name in ["payments", "payments-2", "7", "-", longest.as_str()] {
            assert_eq!(checked(name), Ok(name));
        }
    }

    #[test]
    fn a_name_that_is_no_slug_is_shown_with_a_suggestion() {
        assert_eq!(
            refusal("My Payments (v2)"),
            "the API's name \"My Payments (v2)\" is not a slug: expected 1 to 64 characters of a-z, 0-9 and `-`; \
             write Api::new(\"my-payments-v2\", …).title(\"My Payments (v2)\")"
        );
        for (name, write) in [
            ("", "Api::new(\"payments\", …)"),
            ("支払い", "Api::new(\"payments\", …).title(\"支払い\")"),
            ("a_b", "Api::new(\"a-b\", …).title(\"a_b\")"),
            (" Éclair ", "Api::new(\"clair\", …).title(\" Éclair \")"),
        ] {
            assert!(
                refusal(name).ends_with(&format!("; write {write}")),
                "{name}: {}",
                refusal(name)
            );
        }
    }

    #[test]
    fn a_suggestion_is_a_slug() {
        for name in [
            "x".repeat(65),
            format!("{} b", "a".repeat(63)),
            "A".repeat(1000),
            "a.".repeat(100),
        ] {
            let suggested = suggested(&name).expect("letters");
            assert_eq!(checked(&suggested), Ok(suggested.as_str()), "{name}");
        }
    }
}
