//! `by = caller`, `by = header("x-tenant", Tenant)`: whose requests share a bucket.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{LitStr, Token, Type};

use super::variant;
use crate::errors::Sink;
use crate::parse::{Argument, Kind, PathTemplate, Value, field_name};
use crate::suggest;

/// Whose requests share a bucket.
pub(super) enum By {
    /// A word that says it all.
    Word(&'static str, TokenStream),
    /// What a header or a path parameter says, once it is verified.
    Key(Box<Key>),
}

/// A header or a path parameter.
pub(super) struct Key {
    place: &'static str,
    name: String,
    /// The name as written.
    tokens: LitStr,
    /// The type that verifies it.
    kind: Type,
}

const HEADER: &str = "header";
const PARAM: &str = "param";
const ACCEPTED: &[&str] = &["caller", "ip", "route", HEADER, PARAM];

impl By {
    /// Reads `by = caller` or `by = header("x-tenant", Tenant)`.
    pub(super) fn parse(option: &Argument, sink: &Sink<'_>) -> Option<Self> {
        let value = option.value("by = caller", sink)?;
        if let Kind::Call(word, arguments) = &value.kind {
            let place = source(word, sink)?;
            let key = sink.take(Key::parse(place, value, arguments))?;
            return key.named(sink).map(Box::new).map(Self::Key);
        }
        let (word, value) = option.one_of(ACCEPTED, sink)?;
        if is_source(word) {
            sink.report(&value.tokens, unverified(word));
            return None;
        }
        Some(Self::Word(word, value.tokens.clone()))
    }

    /// Reports a parameter that the path does not have.
    pub(super) fn check(&self, path: Option<&PathTemplate>, sink: &Sink<'_>) {
        if let (Self::Key(key), Some(path)) = (self, path)
            && key.place == PARAM
        {
            key.find(path, sink);
        }
    }

    pub(super) fn expand(&self) -> TokenStream {
        match self {
            Self::Word(word, _) => {
                let variant = variant(word);
                quote!(.with_by(__aplomb::policies::rate_limit::LimitBy::#variant))
            }
            Self::Key(key) => {
                let Key {
                    place, name, kind, ..
                } = &**key;
                let variant = variant(place);
                let kind = quote!(__aplomb::policies::rate_limit::KeyKind::of::<#kind>());
                quote!(.with_by(__aplomb::policies::rate_limit::LimitBy::#variant(#name, #kind)))
            }
        }
    }
}

impl Key {
    fn parse(place: &'static str, value: &Value, arguments: &TokenStream) -> syn::Result<Self> {
        let parse = |input: ParseStream<'_>| {
            if input.is_empty() {
                return Err(syn::Error::new_spanned(&value.tokens, unverified(place)));
            }
            if !input.peek(LitStr) {
                let (name, form) = (thing(place), syntax(place));
                return Err(rest(
                    input,
                    format!("the name of the {name} comes first, in quotes: write `by = {form}`"),
                ));
            }
            let tokens: LitStr = input.parse()?;
            if !input.is_empty() && !input.peek(Token![,]) {
                return Err(rest(input, "a comma is missing before this"));
            }
            input.parse::<Option<Token![,]>>()?;
            if input.is_empty() {
                return Err(syn::Error::new_spanned(&value.tokens, unverified(place)));
            }
            let kind = kind(place, input)?;
            input.parse::<Option<Token![,]>>()?;
            if input.is_empty() {
                return Ok(Self {
                    place,
                    name: tokens.value(),
                    tokens,
                    kind,
                });
            }
            Err(rest(
                input,
                format!("`{place}` takes a name and the type that verifies it: remove this"),
            ))
        };
        parse.parse2(arguments.clone())
    }

    /// The same, if the name can be one.
    fn named(mut self, sink: &Sink<'_>) -> Option<Self> {
        if self.place == HEADER {
            let name = field_name(&self.name);
            self.name = name
                .map_err(|message| sink.report(&self.tokens, message))
                .ok()?;
        }
        Some(self)
    }

    fn find(&self, path: &PathTemplate, sink: &Sink<'_>) {
        let (parameters, name, path) = (path.parameters(), &self.name, path.as_str());
        if parameters.contains(name) {
            return;
        }
        let instead = if parameters.is_empty() {
            "it has none; count by a `header`, or by `caller`".to_owned()
        } else {
            suggest::suggestion(name, parameters.iter().map(String::as_str))
        };
        sink.report(
            &self.tokens,
            format!("the path {path} has no parameter `{name}`: {instead}"),
        );
    }
}

/// Where a key stands.
fn source(word: &Ident, sink: &Sink<'_>) -> Option<&'static str> {
    let accepted = ACCEPTED.iter().copied().find(|accepted| word == accepted);
    match accepted {
        Some(place) if is_source(place) => return Some(place),
        Some(word_alone) => {
            sink.report(
                word,
                format!("`by = {word_alone}` names nothing more: write `by = {word_alone}`"),
            );
        }
        None => {
            let instead = suggest::suggestion(&word.to_string(), ACCEPTED.iter().copied());
            sink.report(word, format!("`by` cannot be `{word}`: {instead}"));
        }
    }
    None
}

fn is_source(word: &str) -> bool {
    word == HEADER || word == PARAM
}

fn kind(place: &str, input: ParseStream<'_>) -> syn::Result<Type> {
    let ahead = input.fork();
    input.parse().map_err(|_| {
        let form = syntax(place);
        rest(
            &ahead,
            format!(
                "the type that verifies the {} is expected here: write `by = {form}`",
                thing(place)
            ),
        )
    })
}

/// An error at all that is left.
fn rest(input: ParseStream<'_>, message: impl std::fmt::Display) -> syn::Error {
    match input.parse::<TokenStream>() {
        Ok(rest) => syn::Error::new_spanned(rest, message),
        Err(error) => error,
    }
}

fn unverified(place: &str) -> String {
    let (thing, form) = (thing(place), syntax(place));
    format!(
        "clients choose what a {thing} says, and would have a new limit with each new value: write \
         `by = {form}`, with a type that implements `LimitKey` and says which values are verified"
    )
}

fn thing(place: &str) -> &'static str {
    if place == HEADER {
        "header"
    } else {
        "path parameter"
    }
}

fn syntax(place: &str) -> &'static str {
    if place == HEADER {
        "header(\"x-tenant\", Tenant)"
    } else {
        "param(\"tenant_id\", Tenant)"
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, mistakes};

    fn of(by: &str) -> String {
        format!("get = \"/t/{{tenant_id}}/{{id}}\", rate_limit(\"5/s\", by = {by})")
    }

    #[test]
    fn b09_keys_of_a_verified_kind() {
        for (by, call) in [
            (
                "header(\"X-Tenant\", Tenant)",
                "LimitBy::Header(\"x-tenant\",KeyKind::of::<Tenant>())",
            ),
            (
                "param(\"tenant_id\", ids::Key<A, B>,)",
                "LimitBy::Param(\"tenant_id\",KeyKind::of::<ids::Key<A,B>>())",
            ),
        ] {
            let calls = calls(&of(by));
            assert!(calls.contains(&format!(".with_by({call})")), "{calls}");
        }
    }

    #[test]
    fn b09_everything_else_is_refused() {
        for (by, message) in [
            ("header", "write `by = header(\"x-tenant\", Tenant)`"),
            ("param", "write `by = param(\"tenant_id\", Tenant)`"),
            ("header()", "clients choose what a header says"),
            ("header(\"x-tenant\")", "clients choose what a header says"),
            ("header(\"x-tenant\",)", "clients choose what a header says"),
            (
                "param(\"tenant_id\")",
                "clients choose what a path parameter says",
            ),
            (
                "header(Tenant)",
                "the name of the header comes first, in quotes",
            ),
            (
                "param(tenant_id, Tenant)",
                "the name of the path parameter comes first, in quotes",
            ),
            (
                "header(\"x-tenant\" Tenant)",
                "a comma is missing before this",
            ),
            (
                "header(\"x-tenant\", \"Tenant\")",
                "the type that verifies the header is expected here",
            ),
            (
                "header(\"x-tenant\", Tenant, Region)",
                "`header` takes a name and the type",
            ),
            (
                "header(\"x-tenant\", Tenant Region)",
                "`header` takes a name and the type",
            ),
            ("header(\"\", Tenant)", "is no name of a field"),
            ("header(\"x tenant\", Tenant)", "is no name of a field"),
            ("param(\"tenant\", Tenant)", "did you mean `tenant_id`?"),
            ("param(\"TENANT\", Tenant)", "did you mean `tenant_id`?"),
            ("heder(\"x-tenant\", Tenant)", "did you mean `header`?"),
            (
                "cookie(\"tenant\", Tenant)",
                "accepted: `caller`, `ip`, `route`, `header`, `param`",
            ),
            ("caller(\"x-user\")", "write `by = caller`"),
        ] {
            let mistakes = mistakes(&of(by));
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(message),
                "{by}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn b09_a_path_without_parameters_has_none_to_count_by() {
        let mistakes = mistakes("get = \"/users\", rate_limit(\"5/s\", by = param(\"id\", Id))");
        assert!(
            mistakes.len() == 1 && mistakes[0].contains("it has none"),
            "{mistakes:?}"
        );
    }
}
