//! Each key and each option of the grammar is read: a valid use expands, and a wrong value is one mistake at its place.

use proc_macro2::TokenStream;

use super::{KEYS, Key, KeyOption};
use crate::endpoint::endpoint;
use crate::errors::Diagnostics;
use crate::parse::Function;
use crate::policies::Endpoint;
use crate::spec::Spec;

/// A value that nothing accepts.
const WRONG: &str = "[]";

const FUNCTION: &str = "async fn f(page: PageRequest<Newest>) -> Page<Order> { orders(page) }";

/// The keys that a valid use of a key needs beside it.
fn beside(key: &Key) -> &'static str {
    match key.name {
        "get" | "put" | "delete" => "public",
        "post" | "patch" => "public, not_idempotent = \"the last one counts\"",
        "idempotent" | "not_idempotent" => "post = \"/a\"",
        "successor" => "get = \"/a\", deprecated = \"2026-06-30\"",
        _ => "get = \"/a\"",
    }
}

fn attribute(key: &Key, used: &str) -> TokenStream {
    let text = format!("{used}, {}", beside(key));
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn function() -> TokenStream {
    FUNCTION.parse().expect("a function")
}

/// The expansion of a valid use.
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

/// The mistakes of a use, each with its place.
fn mistakes(key: &Key, used: &str) -> Vec<(String, String)> {
    let mistakes = Diagnostics::new();
    {
        let sink = mistakes.sink();
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
    mistakes.into_placed_messages()
}

/// A list of the key with this option alone.
fn with_option(key: &Key, option: &str) -> String {
    let name = key.name;
    match first(key) {
        Some(first) => format!("{name}({first}, {option})"),
        None => format!("{name}({option})"),
    }
}

/// The first value in the list of the key, before its options.
fn first(key: &Key) -> Option<&'static str> {
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
        let is_plain = |form: &&&str| key.options.iter().all(|option| !form.contains(option.form));
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
fn only_a_repeatable_key_may_be_given_twice() {
    for key in KEYS {
        let form = key.forms[0];
        let found = mistakes(key, &format!("{form}, {form}"));
        let refusal = format!("`{}` is given twice: remove one", key.name);
        assert_eq!(
            found.iter().any(|(_, message)| *message == refusal),
            !key.repeatable,
            "{form}: {found:?}"
        );
    }
}

#[test]
fn each_option_expands_and_is_not_ignored() {
    for (key, option) in options() {
        let with = expanded(key, &with_option(key, option.form));
        let without = match first(key) {
            Some(first) => expanded(key, &format!("{}({first})", key.name)),
            None => expanded(key, key.name),
        };
        let is_default = option
            .form
            .rsplit(" = ")
            .next()
            .is_some_and(|value| option.otherwise.contains(value));
        assert!(
            with != without || is_default,
            "{} of {}",
            option.name,
            key.name
        );
    }
}

#[test]
fn a_wrong_value_of_a_key_is_one_mistake_at_the_key_or_its_value() {
    for key in KEYS {
        let found = mistakes(key, &format!("{} = {WRONG}", key.name));
        assert!(is_at(&found, key.name), "{}: {found:?}", key.name);
    }
}

#[test]
fn a_wrong_value_of_an_option_is_one_mistake_at_the_option_or_its_value() {
    for (key, option) in options() {
        let found = mistakes(
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
