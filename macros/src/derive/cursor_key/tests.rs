use super::*;
use crate::errors::Diagnostics;

fn errors(item: &str) -> Vec<String> {
    let diagnostics = Diagnostics::new();
    generate(item.parse().expect("tokens"), &diagnostics.sink());
    diagnostics.into_messages()
}

#[test]
fn valid_keys_are_accepted() {
    for item in [
        "struct K { #[cursor(unique)] id: u32 }",
        "pub(crate) struct K { #[cursor(desc)] at: i64, #[cursor(desc, unique)] id: i64 }",
        "struct K { r#type: String, #[cursor(desc)] #[cursor(unique, column = \"k.id\")] id: Vec<u8>, }",
    ] {
        assert_eq!(errors(item), [""; 0], "{item}");
    }
}

#[test]
fn d01_an_invalid_key_is_one_error() {
    for (item, message) in [
        ("struct K;", "needs sort columns"),
        ("struct K {}", "needs sort columns"),
        ("struct K(i64);", "needs named fields"),
        ("enum K { A }", "cannot be an enum"),
        ("union K { a: i64 }", "cannot be a union"),
        (
            "struct K<T> { #[cursor(unique)] id: T }",
            "cannot be generic",
        ),
        (
            "struct K<'a> { #[cursor(unique)] id: &'a str }",
            "cannot be generic",
        ),
        ("struct K { at: i64, id: i64 }", "`#[cursor(unique)]`"),
        (
            "struct K { #[cursor(unique)] id: i64, at: i64 }",
            "move it after `at`",
        ),
        (
            "struct K { #[cursor(unique)] id: i64, #[cursor(unique)] at: i64 }",
            "move it after `at`",
        ),
        (
            "struct K { #[cursor(asc, unique)] id: i64 }",
            "expected one of `desc`",
        ),
        ("struct K { #[cursor] id: i64 }", "write `#[cursor(desc)]`"),
        (
            "struct K { #[cursor(desc, desc, unique)] id: i64 }",
            "twice",
        ),
        (
            "struct K { #[cursor(desc = true, unique)] id: i64 }",
            "is a flag",
        ),
        (
            "struct K { #[cursor(unique, column)] id: i64 }",
            "needs a value",
        ),
        (
            "struct K { #[cursor(unique, column = \"\")] id: i64 }",
            "is not a column",
        ),
        (
            "struct K { #[cursor(unique, column = \"lower(name)\")] id: i64 }",
            "a generated column",
        ),
        (
            "struct K { #[cursor(column = \"id\")] a: i64, #[cursor(unique)] id: i64 }",
            "already sorts by `id`",
        ),
        (
            "#[cursor(unique)] struct K { #[cursor(unique)] id: i64 }",
            "belongs on the fields",
        ),
    ] {
        let found = errors(item);
        assert!(
            found.len() == 1 && found[0].contains(message),
            "{item}: {found:?}"
        );
    }
}

#[test]
fn each_option_is_parsed_and_a_wrong_value_is_one_error() {
    for option in column::OPTIONS {
        let found = errors(&format!(
            "struct K {{ #[cursor({option} = [])] a: i64, #[cursor(unique)] id: i64 }}"
        ));
        assert!(
            found.len() == 1 && found[0].contains(&format!("`{option}`")),
            "{option}: {found:?}"
        );
    }
}
