//! The syntax of an argument: `key`, `key = value` or `key(…)`.
//!
//! Arguments are first split at commas and then parsed one by one, so that an error in one argument
//! does not hide errors in the others.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, Lit, Token};

use super::argument::{Argument, Form, Item, Kind, Value};
use crate::errors::Sink;
use crate::grammar;

/// Parses the arguments of an attribute. Reports and leaves out an argument that cannot be parsed.
pub(crate) fn arguments(tokens: TokenStream, sink: &Sink<'_>) -> Vec<Argument> {
    let mut arguments = Vec::new();
    for item in items(tokens, sink) {
        match item {
            Item::Option(argument) => arguments.push(argument),
            Item::Value(value) => {
                sink.report(
                    &value.tokens,
                    "expected a key, as in `get = \"/path\"` or `timeout = \"5s\"`",
                );
            }
        }
    }
    arguments
}

/// Parses the items of a list. Reports and leaves out an item that cannot be parsed.
pub(crate) fn items(tokens: TokenStream, sink: &Sink<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    for tokens in split(tokens) {
        if let Some(item) = sink.take(item.parse2(tokens)) {
            items.push(item);
        }
    }
    items
}

/// Splits tokens at commas, and drops empty parts.
pub(crate) fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for tree in tokens {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(TokenStream::new()),
            tree => {
                if let Some(last) = parts.last_mut() {
                    last.extend([tree]);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn item(input: ParseStream<'_>) -> syn::Result<Item> {
    if !input.peek(Ident::peek_any) || input.peek(syn::LitBool) {
        return Ok(Item::Value(value(input.parse()?)));
    }
    let key = input.call(Ident::parse_any)?;
    let form = key_form(&key, input)?;
    Ok(Item::Option(Argument { key, form }))
}

fn key_form(key: &Ident, input: ParseStream<'_>) -> syn::Result<Form> {
    if input.is_empty() {
        return Ok(Form::Flag);
    }
    if input.peek(syn::token::Paren) {
        return list(key, input);
    }
    if input.peek(Token![=]) && !input.peek(Token![==]) && !input.peek(Token![=>]) {
        return value_after_equals(key, input.parse()?, input.parse()?);
    }
    let rest: TokenStream = input.parse()?;
    Err(semicolon(&rest).unwrap_or_else(|| unexpected_tokens(key, rest)))
}

/// Returns the error for tokens that cannot follow a key.
fn unexpected_tokens(key: &Ident, rest: TokenStream) -> syn::Error {
    let marks: TokenStream = rest.clone().into_iter().take_while(is_mark).collect();
    match marks.to_string().as_str() {
        "" => syn::Error::new_spanned(
            rest,
            format!("expected `=`, `(…)` or a comma after `{key}`"),
        ),
        mark => {
            let mark = if mark == ":" {
                mark
            } else {
                &format!(" {mark}")
            };
            let message = format!(
                "expected one `=` after `{key}`: write `{key} = …` instead of `{key}{mark} …`"
            );
            syn::Error::new_spanned(marks, message)
        }
    }
}

fn is_mark(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if ":=>".contains(punct.as_char()))
}

fn value_after_equals(key: &Ident, equals: Token![=], tokens: TokenStream) -> syn::Result<Form> {
    if tokens.is_empty() {
        return Err(syn::Error::new_spanned(equals, missing_value(key)));
    }
    if let Some(error) = semicolon(&tokens) {
        return Err(error);
    }
    if let Some(rest) = tokens_after_value(&tokens) {
        return Err(syn::Error::new_spanned(
            rest,
            "expected a comma before this",
        ));
    }
    if is_parenthesized(&tokens) {
        return Err(syn::Error::new_spanned(
            equals,
            format!("`{key}` takes its list without `=`: write `{key}(…)`"),
        ));
    }
    Ok(Form::Value(value(tokens)))
}

fn missing_value(key: &Ident) -> String {
    match grammar::example_with_value(&key.unraw().to_string()) {
        Some(example) => format!("`{key}` needs a value: write `{example}`"),
        None => format!("`{key}` needs a value after `=`"),
    }
}

/// Returns the error for a semicolon among the tokens, if there is one.
fn semicolon(tokens: &TokenStream) -> Option<syn::Error> {
    let is_semicolon =
        |tree: &TokenTree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';');
    let found = tokens.clone().into_iter().find(is_semicolon)?;
    Some(syn::Error::new_spanned(
        found,
        "expected a comma: write `,` instead of `;`",
    ))
}

fn list(key: &Ident, input: ParseStream<'_>) -> syn::Result<Form> {
    let content;
    syn::parenthesized!(content in input);
    let inner: TokenStream = content.parse()?;
    if !input.is_empty() {
        let rest: TokenStream = input.parse()?;
        return Err(syn::Error::new_spanned(
            rest,
            format!("expected a comma after `{key}(…)`"),
        ));
    }
    split(inner)
        .into_iter()
        .map(|tokens| item.parse2(tokens))
        .collect::<syn::Result<_>>()
        .map(Form::List)
}

fn is_parenthesized(tokens: &TokenStream) -> bool {
    matches!(tokens.clone().into_iter().next(), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

/// Returns the tokens after a complete value. If the first two tokens are literals or identifiers,
/// the first one is a complete value.
fn tokens_after_value(tokens: &TokenStream) -> Option<TokenStream> {
    let is_value = |tree: &TokenTree| matches!(tree, TokenTree::Literal(_) | TokenTree::Ident(_));
    let mut trees = tokens.clone().into_iter();
    let (first, second) = (trees.next()?, trees.next()?);
    (is_value(&first) && is_value(&second)).then(|| std::iter::once(second).chain(trees).collect())
}

fn value(tokens: TokenStream) -> Value {
    let kind = kind.parse2(tokens.clone()).unwrap_or(Kind::Other);
    Value { kind, tokens }
}

fn kind(input: ParseStream<'_>) -> syn::Result<Kind> {
    if input.peek(Ident::peek_any) && !input.peek(syn::LitBool) {
        let name = input.call(Ident::parse_any)?;
        return if input.peek(syn::token::Paren) {
            call(name, input)
        } else {
            Ok(Kind::Name(name))
        };
    }
    let literal: Lit = input.parse()?;
    match literal {
        Lit::Str(text) => Ok(Kind::Text(text.value())),
        Lit::Int(number)
            if number.suffix().is_empty() && !number.base10_digits().starts_with('-') =>
        {
            let number = number.base10_parse().ok();
            if input.is_empty() {
                Ok(Kind::Integer(number))
            } else {
                range(number, input)
            }
        }
        _ => Ok(Kind::Other),
    }
}

fn call(name: Ident, input: ParseStream<'_>) -> syn::Result<Kind> {
    let arguments;
    syn::parenthesized!(arguments in input);
    Ok(Kind::Call(name, arguments.parse()?))
}

fn range(first: Option<u64>, input: ParseStream<'_>) -> syn::Result<Kind> {
    let closed = input.peek(Token![..=]);
    if closed {
        input.parse::<Token![..=]>()?;
    } else {
        input.parse::<Token![..]>()?;
    }
    if input.is_empty() && !closed {
        return Ok(Kind::Range {
            first,
            last: None,
            closed: true,
        });
    }
    let last = input.parse::<syn::LitInt>()?;
    Ok(Kind::Range {
        first,
        // A last number that does not fit into 64 bits becomes `u64::MAX`, because `None` would
        // mean an open range.
        last: Some(last.base10_parse().unwrap_or(u64::MAX)),
        closed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Diagnostics;
    use quote::quote;

    fn messages(tokens: TokenStream) -> Vec<String> {
        let diagnostics = Diagnostics::new();
        arguments(tokens, &diagnostics.sink());
        diagnostics.into_messages()
    }

    #[test]
    fn all_forms_of_an_argument_are_parsed() {
        let diagnostics = Diagnostics::new();
        let read = arguments(
            quote!(a, b = 1..=3, c("x", d = e, f), r#type = "t",),
            &diagnostics.sink(),
        );
        assert!(diagnostics.into_messages().is_empty());
        assert!(matches!(read[0].form, Form::Flag));
        assert!(matches!(
            &read[1].form,
            Form::Value(Value {
                kind: Kind::Range {
                    first: Some(1),
                    last: Some(3),
                    closed: true
                },
                ..
            })
        ));
        assert!(matches!(&read[2].form, Form::List(items) if items.len() == 3));
        assert_eq!(read[3].name(), "type");
    }

    #[test]
    fn one_error_does_not_hide_the_next() {
        assert_eq!(
            messages(quote!(a =, ttl =, "b", c d, e = (1, 2), f = "g" h, i: "j", k == 1, l = 2; m)),
            [
                "`a` needs a value after `=`",
                "`ttl` needs a value: write `ttl = \"24h\"`",
                "expected `=`, `(…)` or a comma after `c`",
                "`e` takes its list without `=`: write `e(…)`",
                "expected a comma before this",
                "expected one `=` after `i`: write `i = …` instead of `i: …`",
                "expected one `=` after `k`: write `k = …` instead of `k == …`",
                "expected a comma: write `,` instead of `;`",
                "expected a key, as in `get = \"/path\"` or `timeout = \"5s\"`",
            ]
        );
    }
}
