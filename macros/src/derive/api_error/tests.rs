use quote::quote;

use super::*;
use crate::errors::Diagnostics;

fn mistakes(item: TokenStream) -> Vec<String> {
    let mistakes = Diagnostics::new();
    generate(item, &mistakes.sink());
    mistakes.into_messages()
}

/// The mistakes of one variant's attribute.
fn of(attribute: &TokenStream) -> Vec<String> {
    mistakes(quote!(
        enum E {
            #[problem(#attribute)]
            Some { n: u8 },
        }
    ))
}

#[test]
fn what_is_accepted() {
    for attribute in [
        quote!(conflict),
        quote!(
            conflict,
            code = "X1",
            title = "T",
            status = 412,
            retryable = true,
            retry_after = "2s"
        ),
        quote!(dependency, retry_after = "2s", effects = none),
        quote!(validation, pointer = "#/amount"),
        quote!(validation, pointer = "#"),
        quote!(validation, pointer = "#/lines/0/a~1b~0c%20d%C3%A9-e_f.g:@"),
        quote!(validation, status = 413),
        quote!(unauthenticated),
        quote!(forbidden),
        quote!(rate_limited, retry_after = "1min"),
        quote!(internal),
        quote!(transparent),
    ] {
        assert_eq!(of(&attribute), [""; 0], "{attribute}");
    }
}

#[test]
fn what_is_refused() {
    for (attribute, message) in [
        (quote!(), "the category of `Some` comes first"),
        (quote!(code = "XX"), "the category of `Some` comes first"),
        (quote!(conflct), "did you mean `conflict`?"),
        (quote!(teapot), "accepted: `validation`"),
        (quote!(conflict, status = 404), "it is one of 409, 412, 428"),
        (quote!(conflict, status = "409"), "an integer"),
        (
            quote!(conflict, retry_after = "2s"),
            "or add `retryable = true`",
        ),
        (
            quote!(not_found, retry_after = "2s"),
            "remove `retry_after`",
        ),
        (quote!(dependency, retry_after = "2"), "is no duration"),
        (quote!(dependency, effects = some), "accepted: `none`"),
        (
            quote!(conflict, code = "insufficient-funds"),
            "write \"INSUFFICIENT_FUNDS\"",
        ),
        (quote!(conflict, title = ""), "in a few words"),
        (quote!(conflict, pointer = "#/a"), "not a `conflict` one"),
        (quote!(validation, pointer = "amount"), "write \"#/amount\""),
        (
            quote!(validation, pointer = "#/a b~~2%é\"{"),
            "write \"#/a%20b~0~02%25%C3%A9%22%7B\"",
        ),
        (
            quote!(validation, pointer = "#/a", status = 400),
            "remove `status`",
        ),
        (quote!(validation, retryable = true), "remove `retryable`"),
        (quote!(rate_limited, retryable = true), "always retryable"),
        (quote!(conflict, retryable = yes), "takes `true`"),
        (quote!(conflict, cde = "XX"), "did you mean `code`?"),
        (quote!(transparent, code = "XX"), "alone"),
    ] {
        let mistakes = of(&attribute);
        assert!(
            mistakes.len() == 1 && mistakes[0].contains(message),
            "{attribute}: {mistakes:?}"
        );
    }
}

fn mistakes_of(item: &str) -> Vec<String> {
    mistakes(item.parse().expect("tokens"))
}

#[test]
fn shapes_that_are_refused() {
    for (item, message) in [
        ("enum E { A }", "must be said"),
        ("enum E { #[problem(conflict)] A }", "no code can be made"),
        ("enum E { #[problem] Ab }", "write `#[problem(conflict"),
        (
            "#[problem(conflict)] enum E { #[problem(conflict)] Ab }",
            "at the variants",
        ),
        ("enum E { #[problem(transparent)] Ab }", "exactly one field"),
        (
            "enum E<T> { #[problem(conflict)] Ab(T) }",
            "cannot be generic",
        ),
        ("union E { a: u8 }", "not a union"),
        (
            "enum E { #[problem(conflict)] Ab(#[problem(extension)] u8) }",
            "give it one",
        ),
        (
            "enum E { #[problem(conflict)] Ab { #[problem(extension)] code: u8 } }",
            "another name",
        ),
        (
            "enum E { #[problem(conflict)] Ab, #[problem(gone, code = \"AB\")] Cd }",
            "another kind of problem at `Ab`",
        ),
        (
            "enum E { #[problem(internal)] Ab { #[problem(extension)] n: u8 } }",
            "nothing of what happened",
        ),
        (
            "enum E { #[problem(transparent)] Ab { #[problem(extension)] n: u8 } }",
            "inner error's own",
        ),
        (
            "enum E { #[problem(conflict)] Ab { #[problem(shown)] n: u8 } }",
            "nothing else",
        ),
    ] {
        let mistakes = mistakes_of(item);
        assert!(
            mistakes.len() == 1 && mistakes[0].contains(message),
            "{item}: {mistakes:?}"
        );
    }
}

#[test]
fn shapes_that_are_taken() {
    assert_eq!(
        mistakes_of("#[problem(gone)] struct Removed { #[problem(extension)] at: u64 }"),
        [""; 0]
    );
    assert_eq!(mistakes_of("enum Never {}"), [""; 0]);
    let twice = "enum E { #[problem(conflict)] Ab, #[problem(conflict, code = \"AB\", effects = none)] Cd }";
    assert_eq!(mistakes_of(twice), [""; 0]);
}

#[test]
fn each_option_is_read_and_a_wrong_value_is_one_mistake() {
    for option in problem::OPTIONS {
        let attribute = format!("dependency, {option} = []")
            .parse()
            .expect("tokens");
        let found = of(&attribute);
        assert!(
            found.len() == 1 && found[0].contains(&format!("`{option}`")),
            "{option}: {found:?}"
        );
    }
}
