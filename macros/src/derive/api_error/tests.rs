use quote::quote;

use super::*;
use crate::errors::Diagnostics;

fn errors(item: TokenStream) -> Vec<String> {
    let diagnostics = Diagnostics::new();
    generate(item, &diagnostics.sink());
    diagnostics.into_messages()
}

/// Returns the errors of an attribute on a variant.
fn attribute_errors(attribute: &TokenStream) -> Vec<String> {
    errors(quote!(
        enum E {
            #[problem(#attribute)]
            Some { n: u8 },
        }
    ))
}

#[test]
fn valid_attributes_are_accepted() {
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
        assert_eq!(attribute_errors(&attribute), [""; 0], "{attribute}");
    }
}

#[test]
fn an_invalid_attribute_is_one_error() {
    for (attribute, message) in [
        (quote!(), "the problem of `Some` needs a category first"),
        (
            quote!(code = "XX"),
            "the problem of `Some` needs a category first",
        ),
        (quote!(conflct), "did you mean `conflict`?"),
        (quote!(teapot), "expected one of `validation`"),
        (quote!(conflict, status = 404), "write one of 409, 412, 428"),
        (quote!(conflict, status = "409"), "an integer"),
        (
            quote!(conflict, retry_after = "2s"),
            "add `retryable = true`",
        ),
        (
            quote!(not_found, retry_after = "2s"),
            "remove `retry_after`",
        ),
        (quote!(dependency, retry_after = "2"), "is not a duration"),
        (quote!(dependency, effects = some), "expected `none`"),
        (
            quote!(conflict, code = "insufficient-funds"),
            "such as \"INSUFFICIENT_FUNDS\"",
        ),
        (quote!(conflict, title = ""), "`title` needs a text"),
        (
            quote!(conflict, pointer = "#/a"),
            "`pointer` needs the category `validation`",
        ),
        (quote!(validation, pointer = "amount"), "write \"#/amount\""),
        (
            quote!(validation, pointer = "#/a b~~2%é\"{"),
            "write \"#/a%20b~0~02%25%C3%A9%22%7B\"",
        ),
        (
            quote!(validation, pointer = "#/a", status = 400),
            "`status` and `pointer` exclude each other",
        ),
        (quote!(validation, retryable = true), "remove `retryable`"),
        (quote!(rate_limited, retryable = true), "always retryable"),
        (quote!(conflict, retryable = yes), "takes only `true`"),
        (quote!(conflict, cde = "XX"), "did you mean `code`?"),
        (quote!(transparent, code = "XX"), "takes no options"),
    ] {
        let errors = attribute_errors(&attribute);
        assert!(
            errors.len() == 1 && errors[0].contains(message),
            "{attribute}: {errors:?}"
        );
    }
}

fn item_errors(item: &str) -> Vec<String> {
    errors(item.parse().expect("tokens"))
}

#[test]
fn an_invalid_item_is_one_error() {
    for (item, message) in [
        ("enum E { A }", "needs a problem"),
        ("enum E { #[problem(conflict)] A }", "gives the code `A`"),
        ("enum E { #[problem] Ab }", "write `#[problem(conflict"),
        (
            "#[problem(conflict)] enum E { #[problem(conflict)] Ab }",
            "belongs on the variants",
        ),
        ("enum E { #[problem(transparent)] Ab }", "exactly one field"),
        (
            "enum E<T> { #[problem(conflict)] Ab(T) }",
            "cannot be generic",
        ),
        ("union E { a: u8 }", "cannot be a union"),
        (
            "enum E { #[problem(conflict)] Ab(#[problem(extension)] u8) }",
            "needs a field name",
        ),
        (
            "enum E { #[problem(conflict)] Ab { #[problem(extension)] code: u8 } }",
            "rename the field",
        ),
        (
            "enum E { #[problem(conflict)] Ab, #[problem(gone, code = \"AB\")] Cd }",
            "`Ab` has the same code `AB`",
        ),
        (
            "enum E { #[problem(internal)] Ab { #[problem(extension)] n: u8 } }",
            "a 5xx problem cannot have an extension",
        ),
        (
            "enum E { #[problem(transparent)] Ab { #[problem(extension)] n: u8 } }",
            "`extension` and `transparent` exclude each other",
        ),
        (
            "enum E { #[problem(conflict)] Ab { #[problem(shown)] n: u8 } }",
            "takes only `#[problem(extension)]`",
        ),
    ] {
        let errors = item_errors(item);
        assert!(
            errors.len() == 1 && errors[0].contains(message),
            "{item}: {errors:?}"
        );
    }
}

#[test]
fn valid_items_are_accepted() {
    assert_eq!(
        item_errors("#[problem(gone)] struct Removed { #[problem(extension)] at: u64 }"),
        [""; 0]
    );
    assert_eq!(item_errors("enum Never {}"), [""; 0]);
    let same_meaning = "enum E { #[problem(conflict)] Ab, #[problem(conflict, code = \"AB\", effects = none)] Cd }";
    assert_eq!(item_errors(same_meaning), [""; 0]);
}

#[test]
fn each_option_is_parsed_and_a_wrong_value_is_one_error() {
    for option in problem::OPTIONS {
        let attribute = format!("dependency, {option} = []")
            .parse()
            .expect("tokens");
        let found = attribute_errors(&attribute);
        assert!(
            found.len() == 1 && found[0].contains(&format!("`{option}`")),
            "{option}: {found:?}"
        );
    }
}
