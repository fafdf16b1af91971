//! `by = caller`, `by = header("x-tenant", Tenant)`: the requests that share a bucket.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{LitStr, Token, Type};

use super::variant;
use crate::errors::Sink;
use crate::parse::{Argument, Kind, PathTemplate, Value, field_name};
use crate::suggest;

/// The requests that share a bucket.
pub(super) enum By {
    /// `caller`, `ip` or `route`, with its tokens.
    Word(&'static str, TokenStream),
    /// Requests with the same verified value of a header or a path parameter.
    Key(Box<Key>),
}

/// A header or a path parameter with the type that verifies its value.
pub(super) struct Key {
    /// `header` or `param`.
    source: &'static str,
    /// The name. The name of a header is in lower case.
    name: String,
    /// The name as written.
    tokens: LitStr,
    /// The type, which implements the runtime's `LimitKey`.
    verifier: Type,
}

const HEADER: &str = "header";
const PARAM: &str = "param";
const ACCEPTED: &[&str] = &["caller", "ip", "route", HEADER, PARAM];

impl By {
    /// Parses `by = caller` or `by = header("x-tenant", Tenant)`.
    pub(super) fn parse(option: &Argument, sink: &Sink<'_>) -> Option<Self> {
        let value = option.value("by = caller", sink)?;
        if let Kind::Call(word, arguments) = &value.kind {
            let source = source(word, sink)?;
            let key = sink.take(Key::parse(source, value, arguments))?;
            return key.with_valid_name(sink).map(Box::new).map(Self::Key);
        }
        let (word, value) = option.one_of(ACCEPTED, sink)?;
        if is_source(word) {
            sink.report(&value.tokens, unverified_message(word));
            return None;
        }
        Some(Self::Word(word, value.tokens.clone()))
    }

    /// Reports a parameter that the path does not have.
    pub(super) fn check(&self, path: Option<&PathTemplate>, sink: &Sink<'_>) {
        if let (Self::Key(key), Some(path)) = (self, path)
            && key.source == PARAM
        {
            key.check_parameter(path, sink);
        }
    }

    /// Generates the builder call on the runtime's `RateLimitSpec`.
    pub(super) fn expand(&self) -> TokenStream {
        match self {
            Self::Word(word, _) => {
                let variant = variant(word);
                quote!(.with_by(__aplomb::policies::rate_limit::LimitBy::#variant))
            }
            Self::Key(key) => {
                let Key {
                    source,
                    name,
                    verifier,
                    ..
                } = &**key;
                let variant = variant(source);
                let kind = quote!(__aplomb::policies::rate_limit::LimitKeyType::of::<#verifier>());
                quote!(.with_by(__aplomb::policies::rate_limit::LimitBy::#variant(#name, #kind)))
            }
        }
    }
}

impl Key {
    fn parse(source: &'static str, value: &Value, arguments: &TokenStream) -> syn::Result<Self> {
        let parse = |input: ParseStream<'_>| {
            if input.is_empty() {
                return Err(syn::Error::new_spanned(
                    &value.tokens,
                    unverified_message(source),
                ));
            }
            if !input.peek(LitStr) {
                let (noun, example) = (source_noun(source), example(source));
                return Err(error_at_rest(
                    input,
                    format!(
                        "`{source}` takes the name of the {noun} first, as a string literal: write `by = {example}`"
                    ),
                ));
            }
            let tokens: LitStr = input.parse()?;
            if !input.is_empty() && !input.peek(Token![,]) {
                return Err(error_at_rest(input, "expected a comma before this"));
            }
            input.parse::<Option<Token![,]>>()?;
            if input.is_empty() {
                return Err(syn::Error::new_spanned(
                    &value.tokens,
                    unverified_message(source),
                ));
            }
            let verifier = verifier(source, input)?;
            input.parse::<Option<Token![,]>>()?;
            if input.is_empty() {
                return Ok(Self {
                    source,
                    name: tokens.value(),
                    tokens,
                    verifier,
                });
            }
            Err(error_at_rest(
                input,
                format!("`{source}` takes only a name and a type: remove this"),
            ))
        };
        parse.parse2(arguments.clone())
    }

    /// Returns the key with the name of a header in lower case, or reports an invalid name.
    fn with_valid_name(mut self, sink: &Sink<'_>) -> Option<Self> {
        if self.source == HEADER {
            let name = field_name(&self.name);
            self.name = name
                .map_err(|message| sink.report(&self.tokens, message))
                .ok()?;
        }
        Some(self)
    }

    fn check_parameter(&self, path: &PathTemplate, sink: &Sink<'_>) {
        let (parameters, name, path) = (path.parameters(), &self.name, path.as_str());
        if parameters.contains(name) {
            return;
        }
        let message = if parameters.is_empty() {
            format!("the path {path} has no parameters: write `by = header(…)` or `by = caller`")
        } else {
            let suggestion = suggest::suggestion(name, parameters.iter().map(String::as_str));
            format!("unknown parameter `{name}` of the path {path}, {suggestion}")
        };
        sink.report(&self.tokens, message);
    }
}

/// Returns `header` or `param` for the word before the parentheses, or reports another word.
fn source(word: &Ident, sink: &Sink<'_>) -> Option<&'static str> {
    let accepted = ACCEPTED.iter().copied().find(|accepted| word == accepted);
    match accepted {
        Some(source) if is_source(source) => return Some(source),
        Some(accepted) => {
            sink.report(
                word,
                format!("`by = {accepted}` takes no arguments: write `by = {accepted}`"),
            );
        }
        None => {
            let suggestion = suggest::suggestion(&word.to_string(), ACCEPTED.iter().copied());
            sink.report(
                word,
                format!("unknown value `{word}` of `by`, {suggestion}"),
            );
        }
    }
    None
}

fn is_source(word: &str) -> bool {
    word == HEADER || word == PARAM
}

fn verifier(source: &str, input: ParseStream<'_>) -> syn::Result<Type> {
    // A failed parse consumes tokens. The fork still contains these tokens, so that the error can
    // underline them.
    let start = input.fork();
    input.parse().map_err(|_| {
        let (noun, example) = (source_noun(source), example(source));
        error_at_rest(
            &start,
            format!(
                "`{source}` needs a type that verifies the {noun} here: write `by = {example}`"
            ),
        )
    })
}

/// Returns an error that underlines the rest of the input.
fn error_at_rest(input: ParseStream<'_>, message: impl std::fmt::Display) -> syn::Error {
    match input.parse::<TokenStream>() {
        Ok(rest) => syn::Error::new_spanned(rest, message),
        Err(error) => error,
    }
}

/// Returns the message about a header or a path parameter without a type that verifies it.
fn unverified_message(source: &str) -> String {
    let (noun, example) = (source_noun(source), example(source));
    format!(
        "`{source}` needs a name and a type, since clients choose the value of a {noun} and could get a new \
         bucket with each request: write `by = {example}`, with a type that implements `LimitKey`"
    )
}

fn source_noun(source: &str) -> &'static str {
    if source == HEADER {
        "header"
    } else {
        "path parameter"
    }
}

fn example(source: &str) -> &'static str {
    if source == HEADER {
        "header(\"x-tenant\", Tenant)"
    } else {
        "param(\"tenant_id\", Tenant)"
    }
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, errors};

    fn of(by: &str) -> String {
        format!("get = \"/t/{{tenant_id}}/{{id}}\", rate_limit(\"5/s\", by = {by})")
    }

    #[test]
    fn b09_keys_with_a_verifying_type_are_accepted() {
        for (by, call) in [
            (
                "header(\"X-Tenant\", Tenant)",
                "LimitBy::Header(\"x-tenant\",LimitKeyType::of::<Tenant>())",
            ),
            (
                "param(\"tenant_id\", ids::Key<A, B>,)",
                "LimitBy::Param(\"tenant_id\",LimitKeyType::of::<ids::Key<A,B>>())",
            ),
        ] {
            let calls = calls(&of(by));
            assert!(calls.contains(&format!(".with_by({call})")), "{calls}");
        }
    }

    #[test]
    fn b09_other_keys_are_rejected() {
        for (by, message) in [
            ("header", "write `by = header(\"x-tenant\", Tenant)`"),
            ("param", "write `by = param(\"tenant_id\", Tenant)`"),
            ("header()", "clients choose the value of a header"),
            (
                "header(\"x-tenant\")",
                "clients choose the value of a header",
            ),
            (
                "header(\"x-tenant\",)",
                "clients choose the value of a header",
            ),
            (
                "param(\"tenant_id\")",
                "clients choose the value of a path parameter",
            ),
            (
                "header(Tenant)",
                "the name of the header first, as a string literal",
            ),
            (
                "param(tenant_id, Tenant)",
                "the name of the path parameter first, as a string literal",
            ),
            (
                "header(\"x-tenant\" Tenant)",
                "expected a comma before this",
            ),
            (
                "header(\"x-tenant\", \"Tenant\")",
                "needs a type that verifies the header here",
            ),
            (
                "header(\"x-tenant\", Tenant, Region)",
                "`header` takes only a name and a type",
            ),
            (
                "header(\"x-tenant\", Tenant Region)",
                "`header` takes only a name and a type",
            ),
            ("header(\"\", Tenant)", "is not a header name"),
            ("header(\"x tenant\", Tenant)", "is not a header name"),
            ("param(\"tenant\", Tenant)", "did you mean `tenant_id`?"),
            ("param(\"TENANT\", Tenant)", "did you mean `tenant_id`?"),
            ("heder(\"x-tenant\", Tenant)", "did you mean `header`?"),
            (
                "cookie(\"tenant\", Tenant)",
                "expected one of `caller`, `ip`, `route`, `header`, `param`",
            ),
            ("caller(\"x-user\")", "write `by = caller`"),
        ] {
            let errors = errors(&of(by));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{by}: {errors:?}"
            );
        }
    }

    #[test]
    fn b09_a_parameter_of_a_path_without_parameters_is_rejected() {
        let errors = errors("get = \"/users\", rate_limit(\"5/s\", by = param(\"id\", Id))");
        assert!(
            errors.len() == 1 && errors[0].contains("has no parameters"),
            "{errors:?}"
        );
    }
}
