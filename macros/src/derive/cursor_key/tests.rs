use super::*;
use crate::errors::Diagnostics;

fn mistakes_of(item: &str) -> Vec<String> {
    let mistakes = Diagnostics::new();
    generate(item.parse().expect("tokens"), &mistakes.sink());
    mistakes.into_messages()
}

#[test]
fn keys_that_sort() {
    for item in [
        "struct K { #[cursor(unique)] id: u32 }",
        "pub(crate) struct K { #[cursor(desc)] at: i64, #[cursor(desc, unique)] id: i64 }",
        "struct K { r#type: String, #[cursor(desc)] #[cursor(unique, column = \"k.id\")] id: Vec<u8>, }",
    ] {
        assert_eq!(mistakes_of(item), [""; 0], "{item}");
    }
}

#[test]
fn d01_one_mistake_is_one_error() {
    for (item, message) in [
        ("struct K;", "columns are missing"),
        ("struct K {}", "columns are missing"),
        ("struct K(i64);", "named fields"),
        ("enum K { A }", "not an enum"),
        ("union K { a: i64 }", "not a union"),
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
            "move it behind `at`",
        ),
        (
            "struct K { #[cursor(unique)] id: i64, #[cursor(unique)] at: i64 }",
            "move it behind `at`",
        ),
        (
            "struct K { #[cursor(asc, unique)] id: i64 }",
            "accepted: `desc`",
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
            "a column is letters",
        ),
        (
            "struct K { #[cursor(unique, column = \"lower(name)\")] id: i64 }",
            "a generated column",
        ),
        (
            "struct K { #[cursor(column = \"id\")] a: i64, #[cursor(unique)] id: i64 }",
            "by `id` already",
        ),
        (
            "#[cursor(unique)] struct K { #[cursor(unique)] id: i64 }",
            "at the fields",
        ),
    ] {
        let found = mistakes_of(item);
        assert!(
            found.len() == 1 && found[0].contains(message),
            "{item}: {found:?}"
        );
    }
}

#[test]
fn each_option_is_read_and_a_wrong_value_is_one_mistake() {
    for option in column::OPTIONS {
        let found = mistakes_of(&format!(
            "struct K {{ #[cursor({option} = [])] a: i64, #[cursor(unique)] id: i64 }}"
        ));
        assert!(
            found.len() == 1 && found[0].contains(&format!("`{option}`")),
            "{option}: {found:?}"
        );
    }
}
