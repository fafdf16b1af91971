//! Tests of the table of keys. A valid use of each key and each option expands, and a wrong value
//! causes one error at the key, the option or the value.

use proc_macro2::TokenStream;

use super::{KEYS, Key, KeyOption};
use crate::endpoint::endpoint;
use crate::errors::Diagnostics;
use crate::parse::Function;
use crate::policies::Endpoint;
use crate::spec::Spec;

/// A value that no key and no option accepts.
const WRONG: &str = "[]";

const FUNCTION: &str = "async fn f(page: PageRequest<Newest>) -> Page<Order> { orders(page) }";

/// Returns the other keys that a valid use of this key needs.
fn required_keys(key: &Key) -> &'static str {
    match key.name {
        "get" | "put" | "delete" => "public",
        "post" | "patch" => "public, not_idempotent = \"the last request wins\"",
        "idempotent" | "not_idempotent" => "post = \"/a\"",
        "successor" => "get = \"/a\", deprecated = \"2026-06-30\"",
        _ => "get = \"/a\"",
    }
}

fn attribute(key: &Key, used: &str) -> TokenStream {
    let text = format!("{used}, {}", required_keys(key));
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn function() -> TokenStream {
    FUNCTION.parse().expect("a function")
}

/// Returns the expansion of a valid use.
fn expanded(key: &Key, used: &str) -> String {
    let text = endpoint(attribute(key, used), function()).to_string();
    assert!(!text.contains("compile_error"), "{used}: {text}");
    let generated = text.replace("use framework :: aplomb ::", "");
    assert!(
        !generated.contains(":: aplomb ::"),
        "only the import in the scope may name the crate: {used}: {text}"
    );
    text
}

/// Returns the errors of a use, each with the tokens at which it is reported.
fn errors(key: &Key, used: &str) -> Vec<(String, String)> {
    let diagnostics = Diagnostics::new();
    {
        let sink = diagnostics.sink();
        let spec = Spec::parse(attribute(key, used), &sink);
        let function = Function::parse(function()).expect("a function");
        crate::check::check(
            &Endpoint {
                spec: &spec,
                function: &function,
            },
            &sink,
        );
    }
    diagnostics.into_placed_messages()
}

/// Returns a use of the key with one option, such as `paginate(cursor, max = 500)` or
/// `idempotent(optional)`.
fn with_option(key: &Key, option: &str) -> String {
    let name = key.name;
    match first_value(key) {
        Some(first) => format!("{name}({first}, {option})"),
        None => format!("{name}({option})"),
    }
}

/// Returns the value that comes first in the parentheses of the key, before the options, if there
/// is one.
fn first_value(key: &Key) -> Option<&'static str> {
    let list = key
        .forms
        .iter()
        .find_map(|form| form.strip_prefix(key.name)?.strip_prefix('('))?;
    let first = list.split(&[',', ')'][..]).next()?;
    let is_option = key
        .options
        .iter()
        .any(|option| first.starts_with(option.name));
    (!is_option).then_some(first)
}

fn options() -> impl Iterator<Item = (&'static Key, &'static KeyOption)> {
    KEYS.iter()
        .flat_map(|key| key.options.iter().map(move |option| (key, option)))
}

#[test]
fn each_form_without_options_expands() {
    for key in KEYS {
        let is_plain = |form: &&&str| {
            key.options
                .iter()
                .all(|option| !form.contains(option.example))
        };
        let plain: Vec<_> = key.forms.iter().filter(is_plain).collect();
        assert!(
            !plain.is_empty(),
            "{} has no form without options",
            key.name
        );
        for form in plain {
            expanded(key, form);
        }
    }
}

#[test]
fn only_a_repeatable_key_is_accepted_twice() {
    for key in KEYS {
        let form = key.forms[0];
        let found = errors(key, &format!("{form}, {form}"));
        let refusal = format!("`{}` is given twice: remove one", key.name);
        assert_eq!(
            found.iter().any(|(_, message)| *message == refusal),
            !key.repeatable,
            "{form}: {found:?}"
        );
    }
}

#[test]
fn each_option_changes_the_expansion() {
    for (key, option) in options() {
        let with = expanded(key, &with_option(key, option.example));
        let without = match first_value(key) {
            Some(first) => expanded(key, &format!("{}({first})", key.name)),
            None => expanded(key, key.name),
        };
        let is_default = option
            .example
            .rsplit(" = ")
            .next()
            .is_some_and(|value| option.default_help.contains(value));
        assert!(
            with != without || is_default,
            "{} of {}",
            option.name,
            key.name
        );
    }
}

#[test]
fn a_wrong_value_of_a_key_is_one_error_at_the_key_or_its_value() {
    for key in KEYS {
        let found = errors(key, &format!("{} = {WRONG}", key.name));
        assert!(is_at(&found, key.name), "{}: {found:?}", key.name);
    }
}

#[test]
fn a_wrong_value_of_an_option_is_one_error_at_the_option_or_its_value() {
    for (key, option) in options() {
        let found = errors(
            key,
            &with_option(key, &format!("{} = {WRONG}", option.name)),
        );
        assert!(
            is_at(&found, option.name),
            "{} of {}: {found:?}",
            option.name,
            key.name
        );
    }
}

fn is_at(found: &[(String, String)], name: &str) -> bool {
    matches!(found, [(place, _)] if place == WRONG || place == name)
}
