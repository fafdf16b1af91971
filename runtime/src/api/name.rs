//! The name of an API, which is its identity in stores.

use crate::start::StartError;
use crate::store::is_namespace;

/// Returns the name if it is a slug.
///
/// # Errors
///
/// Returns an error with the name, the accepted form, and a slug that resembles the name.
pub(super) fn check_name(name: &str) -> Result<&str, StartError> {
    if is_namespace(name) {
        return Ok(name);
    }
    let message = format!(
        "the API's name {name:?} is not a slug: expected 1 to 64 characters of a-z, 0-9 and `-`; write \
         Api::new({:?}, …)",
        suggest_slug(name).as_deref().unwrap_or("payments")
    );
    Err(StartError::new(if name.is_empty() {
        message
    } else {
        format!("{message}.title({name:?})")
    }))
}

/// Returns the slug that is closest to a name, or `None` if no character of the name is allowed in
/// a slug.
fn suggest_slug(name: &str) -> Option<String> {
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

    fn error_of(name: &str) -> String {
        check_name(name).expect_err("not a slug").to_string()
    }

    #[test]
    fn slugs_are_accepted() {
        let longest = "a".repeat(64);
        for name in ["payments", "payments-2", "7", "-", longest.as_str()] {
            assert_eq!(check_name(name), Ok(name));
        }
    }

    #[test]
    fn a_name_that_is_not_a_slug_is_refused_with_a_suggestion() {
        assert_eq!(
            error_of("My Payments (v2)"),
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
                error_of(name).ends_with(&format!("; write {write}")),
                "{name}: {}",
                error_of(name)
            );
        }
    }

    #[test]
    fn the_suggested_name_is_a_slug() {
        for name in [
            "x".repeat(65),
            format!("{} b", "a".repeat(63)),
            "A".repeat(1000),
            "a.".repeat(100),
        ] {
            let slug = suggest_slug(&name).expect("letters");
            assert_eq!(check_name(&slug), Ok(slug.as_str()), "{name}");
        }
    }
}
