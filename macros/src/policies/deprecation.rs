//! `deprecated = "…"`, `sunset("…", enforce)`, `successor = …`: the deprecation of an endpoint.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::{Ident, Path};

use super::{Endpoint, Policy};
use crate::errors::Sink;
use crate::grammar;
use crate::parse::{Argument, Date, Form, Item, Kind, Options, Value};

/// The declared deprecation, sunset and successor.
#[derive(Default)]
pub(crate) struct Deprecation {
    deprecated: Option<DateSpec>,
    sunset: Option<DateSpec>,
    successor: Option<Successor>,
}

/// The date of a deprecation or a sunset, with its options.
struct DateSpec {
    /// The date and its tokens; `None` if it has an error.
    date: Option<(Date, TokenStream)>,
    enforced: bool,
    /// The URL or path of a page for humans.
    info: Option<String>,
}

struct Successor {
    key: Ident,
    /// The path of the endpoint; `None` if it has an error.
    path: Option<Path>,
}

impl Policy for Deprecation {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        match argument.name().as_str() {
            "deprecated" => self.deprecated = Some(DateSpec::parse(argument, sink)),
            "sunset" => self.sunset = Some(DateSpec::parse(argument, sink)),
            "successor" => self.successor = Some(Successor::parse(argument, sink)),
            other => grammar::unread_option("endpoint", other),
        }
    }

    fn check(&self, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        if let (Some((deprecated, _)), Some((sunset, tokens))) =
            (date(self.deprecated.as_ref()), date(self.sunset.as_ref()))
            && sunset < deprecated
        {
            sink.report(
                tokens,
                format!(
                    "the sunset is before the deprecation: write \"{deprecated}\" or a later date"
                ),
            );
        }
        if let Some(successor) = &self.successor {
            self.check_successor(successor, endpoint, sink);
        }
    }

    fn spec(&self) -> TokenStream {
        let calls = [
            self.deprecated_calls(),
            self.sunset_calls(),
            self.successor_call(),
        ];
        if calls.iter().all(TokenStream::is_empty) {
            return TokenStream::new();
        }
        quote! {
            .with_deprecation(const { &__aplomb::policies::deprecation::DeprecationSpec::new() #(#calls)* })
        }
    }
}

impl Deprecation {
    fn check_successor(&self, successor: &Successor, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        if self.deprecated.is_none() && self.sunset.is_none() {
            sink.report(
                &successor.key,
                "`successor` needs a deprecation or a sunset: add `deprecated = \"2026-06-30\"` or \
                 `sunset = \"2026-12-31\"`",
            );
        }
        if let Some(path) = &successor.path
            && path.get_ident() == Some(endpoint.name())
        {
            sink.report(
                path,
                "an endpoint cannot be its own successor: write the endpoint that replaces it, or remove `successor`",
            );
        }
    }

    fn deprecated_calls(&self) -> TokenStream {
        let Some(((date, _), spec)) = date(self.deprecated.as_ref()).zip(self.deprecated.as_ref())
        else {
            return TokenStream::new();
        };
        let (date, info) = (
            date_constant(*date),
            spec.info
                .as_ref()
                .map(|page| quote!(.with_deprecation_info(#page))),
        );
        quote!(.with_deprecated(#date) #info)
    }

    fn sunset_calls(&self) -> TokenStream {
        let Some(((date, _), spec)) = date(self.sunset.as_ref()).zip(self.sunset.as_ref()) else {
            return TokenStream::new();
        };
        let (date, info) = (
            date_constant(*date),
            spec.info
                .as_ref()
                .map(|page| quote!(.with_sunset_info(#page))),
        );
        let enforced = spec.enforced.then(|| quote!(.enforced()));
        quote!(.with_sunset(#date) #info #enforced)
    }

    fn successor_call(&self) -> TokenStream {
        let path = self
            .successor
            .as_ref()
            .and_then(|successor| successor.path.as_ref());
        path.map_or_else(
            TokenStream::new,
            |path| quote!(.with_successor(<#path as __aplomb::Endpoint>::ID)),
        )
    }
}

impl DateSpec {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let mut spec = Self {
            date: None,
            enforced: false,
            info: None,
        };
        match &argument.form {
            Form::Value(value) => spec.parse_date(argument, value, sink),
            Form::List(items) => match items.split_first() {
                Some((Item::Value(value), options)) => {
                    spec.parse_date(argument, value, sink);
                    spec.parse_options(argument, options, sink);
                }
                _ => report_missing_date(argument, sink),
            },
            Form::Flag => report_missing_date(argument, sink),
        }
        spec
    }

    fn parse_date(&mut self, argument: &Argument, value: &Value, sink: &Sink<'_>) {
        let Kind::Text(text) = &value.kind else {
            let (key, forms) = (argument.name(), grammar::forms(&argument.name()));
            sink.report(
                &value.tokens,
                format!("`{key}` takes a date as a string literal: write {forms}"),
            );
            return;
        };
        match Date::parse(text) {
            Ok(date) => self.date = Some((date, value.tokens.clone())),
            Err(message) => sink.report(&value.tokens, message),
        }
    }

    fn parse_options(&mut self, argument: &Argument, items: &[Item], sink: &Sink<'_>) {
        let key = argument.name();
        for (name, option) in (Options {
            of: &key,
            keys: &grammar::options(&key),
        })
        .read(items, sink)
        {
            match name {
                "enforce" => self.enforced = option.flag(sink),
                "info" => self.info = info_url(option, sink),
                other => grammar::unread_option(&key, other),
            }
        }
    }
}

impl Successor {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let example = "successor = get_account_v2";
        let path = argument.value(example, sink).and_then(|value| {
            let path = Path::parse_mod_style.parse2(value.tokens.clone()).ok();
            path.or_else(|| {
                argument.report_wrong_value(
                    value,
                    "the path of an endpoint, without quotes",
                    example,
                    sink,
                )
            })
        });
        Self {
            key: argument.key.clone(),
            path,
        }
    }
}

fn report_missing_date(argument: &Argument, sink: &Sink<'_>) {
    let key = argument.name();
    let forms = grammar::forms(&key);
    sink.report(
        &argument.key,
        format!("`{key}` needs a date: write {forms}"),
    );
}

/// Parses a URL or an absolute path that is valid in a `Link` field (RFC 8288).
fn info_url(option: &Argument, sink: &Sink<'_>) -> Option<String> {
    let example = "info = \"https://api.example/changes/v2\"";
    let (text, value) = option.text(example, sink)?;
    let start = ["https://", "http://", "/"]
        .into_iter()
        .find(|start| text.starts_with(start));
    let is_complete = start.is_some_and(|start| start == "/" || text.len() > start.len());
    if is_complete
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
    {
        return Some(text);
    }
    sink.report(
        &value.tokens,
        format!("\"{text}\" is not a URL or an absolute path: write `{example}` or `info = \"/changes/v2\"`"),
    );
    None
}

fn date(spec: Option<&DateSpec>) -> Option<&(Date, TokenStream)> {
    spec.and_then(|spec| spec.date.as_ref())
}

fn date_constant(Date { year, month, day }: Date) -> TokenStream {
    quote!(__aplomb::policies::deprecation::date(#year, #month, #day))
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, errors};

    fn declared(keys: &str) -> String {
        let calls = calls(&format!("get = \"/a\", {keys}"));
        let start = ".with_deprecation(const{&DeprecationSpec::new()";
        let inner = calls
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix("})"));
        inner.unwrap_or_else(|| panic!("{calls}")).to_owned()
    }

    #[test]
    fn all_forms_are_accepted() {
        for (keys, call) in [
            (
                "deprecated = \"2026-06-30\"",
                ".with_deprecated(date(2026u16,6u8,30u8))",
            ),
            (
                "deprecated(\"2026-06-30\", info = \"/why\")",
                ".with_deprecated(date(2026u16,6u8,30u8)).with_deprecation_info(\"/why\")",
            ),
            (
                "sunset = \"2026-12-31\"",
                ".with_sunset(date(2026u16,12u8,31u8))",
            ),
            (
                "sunset(\"2026-12-31\")",
                ".with_sunset(date(2026u16,12u8,31u8))",
            ),
            (
                "sunset(\"2026-12-31\", enforce, info = \"http://a\")",
                ".with_sunset(date(2026u16,12u8,31u8)).with_sunset_info(\"http://a\").enforced()",
            ),
            (
                "deprecated = \"2026-06-30\", successor = v2::get",
                ".with_deprecated(date(2026u16,6u8,30u8)).with_successor(<v2::getas__aplomb::Endpoint>::ID)",
            ),
            (
                "successor = g, sunset = \"2026-06-30\", deprecated = \"2026-06-30\"",
                ".with_deprecated(date(2026u16,6u8,30u8)).with_sunset(date(2026u16,6u8,30u8))\
                 .with_successor(<gas__aplomb::Endpoint>::ID)",
            ),
        ] {
            assert_eq!(declared(keys), call);
        }
    }

    #[test]
    fn e02_an_invalid_deprecation_is_one_error() {
        for (keys, message) in [
            ("deprecated", "needs a date: write"),
            ("deprecated()", "needs a date: write"),
            ("sunset(enforce)", "needs a date: write"),
            ("sunset(info = \"/a\")", "needs a date: write"),
            ("deprecated = 2026", "takes a date as a string literal"),
            ("deprecated = \"tomorrow\"", "is not a date"),
            ("deprecated = \"2026-02-29\"", "February 2026 has 28 days"),
            (
                "deprecated(\"2026-06-30\", enforce)",
                "unknown option `enforce` of `deprecated`",
            ),
            (
                "deprecated(\"2026-06-30\", \"2026-12-31\")",
                "expected an option of `deprecated`",
            ),
            ("deprecated(\"2026-06-30\", info)", "`info` needs a value"),
            (
                "sunset(\"2026-12-31\", enforce = true)",
                "`enforce` is a flag",
            ),
            ("sunset(\"2026-12-31\", enforced)", "did you mean `enforce`"),
            ("sunset(\"2026-12-31\", enforce, enforce)", "given twice"),
            (
                "sunset(\"2026-12-31\", info = \"changes\")",
                "is not a URL or an absolute path",
            ),
            (
                "sunset(\"2026-12-31\", info = \"https://\")",
                "is not a URL or an absolute path",
            ),
            (
                "sunset(\"2026-12-31\", info = \"/a b\")",
                "is not a URL or an absolute path",
            ),
            (
                "sunset(\"2026-12-31\", info = \"/a>\")",
                "is not a URL or an absolute path",
            ),
            (
                "deprecated = \"2026-06-30\", sunset = \"2026-06-29\"",
                "write \"2026-06-30\" or a later date",
            ),
            (
                "deprecated = \"2026-06-30\", deprecated = \"2026-06-30\"",
                "given twice",
            ),
            ("successor = g", "add `deprecated"),
            (
                "sunset = \"2026-12-31\", successor = f",
                "cannot be its own successor",
            ),
            (
                "sunset = \"2026-12-31\", successor = \"g\"",
                "without quotes",
            ),
            ("sunset = \"2026-12-31\", successor", "needs a value"),
            ("sunset = \"2026-12-31\", successor(g)", "takes one value"),
            ("enforce", "write `sunset"),
            ("info = \"/a\"", "write `deprecated"),
            (
                "deprecation = \"2026-06-30\"",
                "did you mean `deprecated = ",
            ),
        ] {
            let errors = errors(&format!("get = \"/a\", {keys}"));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{keys}: {errors:?}"
            );
        }
    }

    #[test]
    fn all_errors_are_reported_together() {
        let found = errors(
            "get = \"/a\", deprecated = \"2026-06-31\", sunset(\"2026-12-31\", info = \"x\"), successor = f",
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
