//! The syntax that all keys share: a flag, `key = value`, or `key(…)`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, Lit, Token};

use super::argument::{Argument, Form, Item, Kind, Value};
use crate::errors::Sink;
use crate::grammar;

/// The arguments of an attribute; what cannot be read is reported and left out.
pub(crate) fn arguments(tokens: TokenStream, sink: &Sink<'_>) -> Vec<Argument> {
    let mut arguments = Vec::new();
    for item in items(tokens, sink) {
        match item {
            Item::Option(argument) => arguments.push(argument),
            Item::Value(value) => {
                sink.report(
                    &value.tokens,
                    "a key is expected here, such as in `get = \"/path\"` or `timeout = \"5s\"`",
                );
            }
        }
    }
    arguments
}

/// The things of a list, separated by commas.
pub(crate) fn items(tokens: TokenStream, sink: &Sink<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    for tokens in split(tokens) {
        if let Some(item) = sink.take(item.parse2(tokens)) {
            items.push(item);
        }
    }
    items
}

/// Cuts at the commas. Nothing between two commas is nothing.
pub(crate) fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for tree in tokens {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(TokenStream::new()),
            tree => parts.extend_last(tree),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

trait ExtendLast {
    fn extend_last(&mut self, tree: TokenTree);
}

impl ExtendLast for Vec<TokenStream> {
    fn extend_last(&mut self, tree: TokenTree) {
        if let Some(last) = self.last_mut() {
            last.extend([tree]);
        }
    }
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
        return after_equals(key, input.parse()?, input.parse()?);
    }
    let rest: TokenStream = input.parse()?;
    Err(semicolon(&rest).unwrap_or_else(|| no_form(key, rest)))
}

/// The mistake of what can follow no key.
fn no_form(key: &Ident, rest: TokenStream) -> syn::Error {
    let marks: TokenStream = rest.clone().into_iter().take_while(is_mark).collect();
    match marks.to_string().as_str() {
        "" => syn::Error::new_spanned(rest, format!("expected `=`, `(…)` or `,` after `{key}`")),
        mark => {
            let mark = if mark == ":" {
                mark
            } else {
                &format!(" {mark}")
            };
            let message = format!(
                "a value stands behind one `=`: write `{key} = …` instead of `{key}{mark} …`"
            );
            syn::Error::new_spanned(marks, message)
        }
    }
}

fn is_mark(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if ":=>".contains(punct.as_char()))
}

fn after_equals(key: &Ident, equals: Token![=], tokens: TokenStream) -> syn::Result<Form> {
    if tokens.is_empty() {
        return Err(syn::Error::new_spanned(equals, missing_value(key)));
    }
    if let Some(error) = semicolon(&tokens) {
        return Err(error);
    }
    if let Some(rest) = after_whole_value(&tokens) {
        return Err(syn::Error::new_spanned(
            rest,
            "a comma is missing before this",
        ));
    }
    if is_parenthesized(&tokens) {
        return Err(syn::Error::new_spanned(
            equals,
            format!("write `{key}(…)`, without `=`"),
        ));
    }
    Ok(Form::Value(value(tokens)))
}

fn missing_value(key: &Ident) -> String {
    match grammar::with_value(&key.unraw().to_string()) {
        Some(form) => format!("a value is missing after `{key} =`: write `{form}`"),
        None => format!("a value is missing after `{key} =`"),
    }
}

fn semicolon(tokens: &TokenStream) -> Option<syn::Error> {
    let is_semicolon =
        |tree: &TokenTree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ';');
    let found = tokens.clone().into_iter().find(is_semicolon)?;
    Some(syn::Error::new_spanned(
        found,
        "arguments are separated by commas: write `,` instead of `;`",
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
            format!("expected `,` after `{key}(…)`"),
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

/// What follows a value that is already whole.
fn after_whole_value(tokens: &TokenStream) -> Option<TokenStream> {
    let whole = |tree: &TokenTree| matches!(tree, TokenTree::Literal(_) | TokenTree::Ident(_));
    let mut trees = tokens.clone().into_iter();
    let (first, second) = (trees.next()?, trees.next()?);
    (whole(&first) && whole(&second)).then(|| std::iter::once(second).chain(trees).collect())
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
    let last = input.parse::<syn::LitInt>()?.base10_parse().ok();
    Ok(Kind::Range {
        first,
        last,
        closed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Diagnostics;
    use quote::quote;

    fn messages(tokens: TokenStream) -> Vec<String> {
        let mistakes = Diagnostics::new();
        arguments(tokens, &mistakes.sink());
        mistakes.into_messages()
    }

    #[test]
    fn all_forms_are_read() {
        let mistakes = Diagnostics::new();
        let read = arguments(
            quote!(a, b = 1..=3, c("x", d = e, f), r#type = "t",),
            &mistakes.sink(),
        );
        assert!(mistakes.into_messages().is_empty());
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
    fn one_mistake_does_not_hide_the_next() {
        assert_eq!(
            messages(quote!(a =, ttl =, "b", c d, e = (1, 2), f = "g" h, i: "j", k == 1, l = 2; m)),
            [
                "a value is missing after `a =`",
                "a value is missing after `ttl =`: write `ttl = \"24h\"`",
                "expected `=`, `(…)` or `,` after `c`",
                "write `e(…)`, without `=`",
                "a comma is missing before this",
                "a value stands behind one `=`: write `i = …` instead of `i: …`",
                "a value stands behind one `=`: write `k = …` instead of `k == …`",
                "arguments are separated by commas: write `,` instead of `;`",
                "a key is expected here, such as in `get = \"/path\"` or `timeout = \"5s\"`",
            ]
        );
    }
}
