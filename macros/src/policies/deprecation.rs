//! `deprecated = "…"`, `sunset("…", enforce)`, `successor = …`: the end of an endpoint.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::{Ident, Path};

use super::{Endpoint, Policy};
use crate::errors::Sink;
use crate::grammar;
use crate::parse::{Argument, Date, Form, Item, Kind, Options, Value};

/// How the endpoint is given up, as far as it is.
#[derive(Default)]
pub(crate) struct Deprecation {
    deprecated: Option<Day>,
    sunset: Option<Day>,
    successor: Option<Successor>,
}

/// A day and what is said of it.
struct Day {
    /// `None` where it has a mistake.
    date: Option<(Date, TokenStream)>,
    enforced: bool,
    info: Option<String>,
}

struct Successor {
    key: Ident,
    /// `None` where it has a mistake.
    path: Option<Path>,
}

impl Policy for Deprecation {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        match argument.name().as_str() {
            "deprecated" => self.deprecated = Some(Day::parse(argument, sink)),
            "sunset" => self.sunset = Some(Day::parse(argument, sink)),
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
                    "the sunset comes before the deprecation: write \"{deprecated}\" or a later day"
                ),
            );
        }
        if let Some(successor) = &self.successor {
            self.check_successor(successor, endpoint, sink);
        }
    }

    fn spec(&self) -> TokenStream {
        let parts = [self.deprecation_date(), self.end(), self.link()];
        if parts.iter().all(TokenStream::is_empty) {
            return TokenStream::new();
        }
        quote! {
            .with_deprecation(const { &__aplomb::policies::deprecation::DeprecationSpec::new() #(#parts)* })
        }
    }
}

impl Deprecation {
    fn check_successor(&self, successor: &Successor, endpoint: &Endpoint<'_>, sink: &Sink<'_>) {
        if self.deprecated.is_none() && self.sunset.is_none() {
            sink.report(
                &successor.key,
                "a successor takes the place of an endpoint that goes: write `deprecated = \"2026-06-30\"`, too, \
                 or `sunset = \"2026-12-31\"`",
            );
        }
        if let Some(path) = &successor.path
            && path.get_ident() == Some(endpoint.name())
        {
            sink.report(
                path,
                "an endpoint cannot succeed itself: name the endpoint that takes its place",
            );
        }
    }

    fn deprecation_date(&self) -> TokenStream {
        let Some(((date, _), day)) = date(self.deprecated.as_ref()).zip(self.deprecated.as_ref())
        else {
            return TokenStream::new();
        };
        let (date, info) = (
            constant(*date),
            day.info
                .as_ref()
                .map(|page| quote!(.with_deprecation_info(#page))),
        );
        quote!(.with_deprecated(#date) #info)
    }

    fn end(&self) -> TokenStream {
        let Some(((date, _), day)) = date(self.sunset.as_ref()).zip(self.sunset.as_ref()) else {
            return TokenStream::new();
        };
        let (date, info) = (
            constant(*date),
            day.info
                .as_ref()
                .map(|page| quote!(.with_sunset_info(#page))),
        );
        let enforced = day.enforced.then(|| quote!(.enforced()));
        quote!(.with_sunset(#date) #info #enforced)
    }

    fn link(&self) -> TokenStream {
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

impl Day {
    fn parse(argument: &Argument, sink: &Sink<'_>) -> Self {
        let mut day = Self {
            date: None,
            enforced: false,
            info: None,
        };
        match &argument.form {
            Form::Value(value) => day.read(argument, value, sink),
            Form::List(items) => match items.split_first() {
                Some((Item::Value(value), options)) => {
                    day.read(argument, value, sink);
                    day.options(argument, options, sink);
                }
                _ => missing(argument, sink),
            },
            Form::Flag => missing(argument, sink),
        }
        day
    }

    fn read(&mut self, argument: &Argument, value: &Value, sink: &Sink<'_>) {
        let Kind::Text(text) = &value.kind else {
            let (key, forms) = (argument.name(), grammar::forms(&argument.name()));
            sink.report(
                &value.tokens,
                format!("`{key}` takes a day in quotes: write {forms}"),
            );
            return;
        };
        match Date::parse(text) {
            Ok(date) => self.date = Some((date, value.tokens.clone())),
            Err(message) => sink.report(&value.tokens, message),
        }
    }

    fn options(&mut self, argument: &Argument, items: &[Item], sink: &Sink<'_>) {
        let key = argument.name();
        for (name, option) in (Options {
            of: &key,
            keys: &grammar::options(&key),
        })
        .read(items, sink)
        {
            match name {
                "enforce" => self.enforced = option.flag(sink),
                "info" => self.info = page(option, sink),
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
                argument.wrong(
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

fn missing(argument: &Argument, sink: &Sink<'_>) {
    let forms = grammar::forms(&argument.name());
    sink.report(&argument.key, format!("the day is missing: write {forms}"));
}

/// The address of a page, as it can stand in a `NodeLink` field.
fn page(option: &Argument, sink: &Sink<'_>) -> Option<String> {
    let example = "info = \"https://api.example/changes/v2\"";
    let (text, value) = option.text(example, sink)?;
    let starts = ["https://", "http://", "/"]
        .into_iter()
        .find(|start| text.starts_with(start));
    let named = starts.is_some_and(|start| start == "/" || text.len() > start.len());
    if named
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
    {
        return Some(text);
    }
    sink.report(
        &value.tokens,
        format!("this is no address of a page: write a URL, such as `{example}`, or a path that begins with a slash"),
    );
    None
}

fn date(day: Option<&Day>) -> Option<&(Date, TokenStream)> {
    day.and_then(|day| day.date.as_ref())
}

fn constant(Date { year, month, day }: Date) -> TokenStream {
    quote!(__aplomb::policies::deprecation::date(#year, #month, #day))
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, mistakes};

    fn declared(keys: &str) -> String {
        let calls = calls(&format!("get = \"/a\", {keys}"));
        let start = ".with_deprecation(const{&DeprecationSpec::new()";
        let inner = calls
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix("})"));
        inner.unwrap_or_else(|| panic!("{calls}")).to_owned()
    }

    #[test]
    fn all_forms_are_taken() {
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
    fn e02_each_mistake_is_one_error() {
        for (keys, message) in [
            ("deprecated", "the day is missing"),
            ("deprecated()", "the day is missing"),
            ("sunset(enforce)", "the day is missing"),
            ("sunset(info = \"/a\")", "the day is missing"),
            ("deprecated = 2026", "takes a day in quotes"),
            ("deprecated = \"tomorrow\"", "is no date"),
            ("deprecated = \"2026-02-29\"", "February 2026 has 28 days"),
            (
                "deprecated(\"2026-06-30\", enforce)",
                "`deprecated` has no `enforce`",
            ),
            (
                "deprecated(\"2026-06-30\", \"2026-12-31\")",
                "no value is expected here",
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
                "no address of a page",
            ),
            (
                "sunset(\"2026-12-31\", info = \"https://\")",
                "no address of a page",
            ),
            (
                "sunset(\"2026-12-31\", info = \"/a b\")",
                "no address of a page",
            ),
            (
                "sunset(\"2026-12-31\", info = \"/a>\")",
                "no address of a page",
            ),
            (
                "deprecated = \"2026-06-30\", sunset = \"2026-06-29\"",
                "write \"2026-06-30\" or a later day",
            ),
            (
                "deprecated = \"2026-06-30\", deprecated = \"2026-06-30\"",
                "given twice",
            ),
            ("successor = g", "write `deprecated"),
            (
                "sunset = \"2026-12-31\", successor = f",
                "cannot succeed itself",
            ),
            (
                "sunset = \"2026-12-31\", successor = \"g\"",
                "without quotes",
            ),
            ("sunset = \"2026-12-31\", successor", "needs a value"),
            ("sunset = \"2026-12-31\", successor(g)", "takes one value"),
            ("enforce", "write `sunset"),
            ("info = \"/a\"", "write `deprecated"),
            ("deprecation = \"2026-06-30\"", "did you mean `deprecated`"),
        ] {
            let mistakes = mistakes(&format!("get = \"/a\", {keys}"));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{keys}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn two_mistakes_are_reported_together() {
        let found = mistakes(
            "get = \"/a\", deprecated = \"2026-06-31\", sunset(\"2026-12-31\", info = \"x\"), successor = f",
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
