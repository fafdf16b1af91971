//! The syntax that all keys share: a flag, `key = value`, or `key(…)`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, Lit, Token};

use crate::errors::Sink;
use crate::suggest;

/// One argument of an attribute, or one option of an argument.
pub(crate) struct Argument {
    /// Its key.
    pub(crate) key: Ident,
    /// What is said of it.
    pub(crate) form: Form,
}

/// How an argument is written.
pub(crate) enum Form {
    /// `key`
    Flag,
    /// `key = value`
    Value(Value),
    /// `key(…)`
    List(Vec<Item>),
}

/// One thing in a list.
pub(crate) enum Item {
    /// A value by position.
    Value(Value),
    /// An option by name.
    Option(Argument),
}

/// A value, with its tokens for messages.
pub(crate) struct Value {
    /// What it is.
    pub(crate) kind: Kind,
    /// As written.
    pub(crate) tokens: TokenStream,
}

/// What a value is.
pub(crate) enum Kind {
    /// `"text"`
    Text(String),
    /// `12`; `None` where it does not fit.
    Integer(Option<u64>),
    /// `name`
    Name(Ident),
    /// `1..`, `1..=3`, `1..3`
    Range { first: Option<u64>, last: Option<u64>, closed: bool },
    /// Anything else.
    Other,
}

impl Argument {
    /// The key as written.
    pub(crate) fn name(&self) -> String {
        self.key.unraw().to_string()
    }

    /// The text of `key = "text"`; anything else is reported with the example.
    pub(crate) fn text(&self, example: &str, sink: &Sink<'_>) -> Option<(String, &Value)> {
        match self.value(example, sink)? {
            value @ Value { kind: Kind::Text(text), .. } => Some((text.clone(), value)),
            value => self.wrong(value, "text in quotes", example, sink),
        }
    }

    /// The positive integer of `key = 12`.
    pub(crate) fn positive(&self, example: &str, sink: &Sink<'_>) -> Option<(u64, &Value)> {
        match self.value(example, sink)? {
            value @ Value { kind: Kind::Integer(Some(number)), .. } if *number > 0 => Some((*number, value)),
            value => self.wrong(value, "an integer of at least 1", example, sink),
        }
    }

    /// The name of `key = name`, one of those accepted.
    pub(crate) fn one_of(
        &self,
        accepted: &[&'static str],
        sink: &Sink<'_>,
    ) -> Option<(&'static str, &Value)> {
        let key = self.name();
        let example = format!("{key} = {}", accepted.first().copied().unwrap_or_default());
        let value = self.value(&example, sink)?;
        let Kind::Name(name) = &value.kind else {
            return self.wrong(value, "a name without quotes", &example, sink);
        };
        let found = accepted.iter().find(|accepted| name == *accepted);
        if found.is_none() {
            let instead = suggest::instead(&name.to_string(), accepted.iter().copied());
            sink.report(&value.tokens, format!("`{key}` cannot be `{name}`: {instead}"));
        }
        found.map(|found| (*found, value))
    }

    /// Whether the flag is given; a value is reported.
    pub(crate) fn flag(&self, sink: &Sink<'_>) -> bool {
        let key = self.name();
        match &self.form {
            Form::Flag => return true,
            Form::Value(value) => {
                sink.report(&value.tokens, format!("`{key}` is a flag and takes no value: write `{key}`"));
            }
            Form::List(_) => {
                sink.report(&self.key, format!("`{key}` is a flag and takes no options: write `{key}`"));
            }
        }
        false
    }

    /// The value of `key = value`.
    pub(crate) fn value(&self, example: &str, sink: &Sink<'_>) -> Option<&Value> {
        let key = self.name();
        match &self.form {
            Form::Value(value) => return Some(value),
            Form::Flag => sink.report(&self.key, format!("`{key}` needs a value: write `{example}`")),
            Form::List(_) => sink.report(&self.key, format!("`{key}` takes one value: write `{example}`")),
        }
        None
    }

    /// Reports a value of the wrong kind.
    pub(crate) fn wrong<T>(&self, value: &Value, wanted: &str, example: &str, sink: &Sink<'_>) -> Option<T> {
        sink.report(&value.tokens, format!("`{}` takes {wanted}: write `{example}`", self.name()));
        None
    }
}

/// The known options of a list, each at most once, in the order written.
pub(crate) struct Options<'a> {
    /// The argument that has them.
    pub(crate) of: &'a str,
    /// Their keys.
    pub(crate) keys: &'a [&'static str],
}

impl<'a> Options<'a> {
    /// The options among `items`; unknown and repeated ones and values are reported.
    pub(crate) fn read(&self, items: &'a [Item], sink: &Sink<'_>) -> Vec<(&'static str, &'a Argument)> {
        let mut read: Vec<(&'static str, &Argument)> = Vec::new();
        for item in items {
            let option = match item {
                Item::Option(option) => option,
                Item::Value(value) => {
                    let keys = suggest::list(self.keys.iter().copied());
                    sink.report(
                        &value.tokens,
                        format!("no value is expected here: `{}` takes {keys}", self.of),
                    );
                    continue;
                }
            };
            let name = option.name();
            match self.keys.iter().find(|key| **key == name) {
                None => {
                    let instead = suggest::instead(&name, self.keys.iter().copied());
                    sink.report(&option.key, format!("`{}` has no `{name}`: {instead}", self.of));
                }
                Some(_) if read.iter().any(|(key, _)| *key == name) => {
                    sink.report(&option.key, format!("`{name}` is given twice: remove one"));
                }
                Some(key) => read.push((key, option)),
            }
        }
        read
    }
}

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

/// Cuts at the commas; nothing between two commas is nothing.
fn split(tokens: TokenStream) -> Vec<TokenStream> {
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
    let form = form(&key, input)?;
    Ok(Item::Option(Argument { key, form }))
}

fn form(key: &Ident, input: ParseStream<'_>) -> syn::Result<Form> {
    if input.is_empty() {
        return Ok(Form::Flag);
    }
    if input.peek(Token![=]) {
        let equals: Token![=] = input.parse()?;
        let tokens: TokenStream = input.parse()?;
        return if tokens.is_empty() {
            Err(syn::Error::new_spanned(equals, format!("a value is missing after `{key} =`")))
        } else if let Some(rest) = after_whole_value(&tokens) {
            Err(syn::Error::new_spanned(rest, "a comma is missing before this"))
        } else if is_parenthesized(&tokens) {
            Err(syn::Error::new_spanned(equals, format!("write `{key}(…)`, without `=`")))
        } else {
            Ok(Form::Value(value(tokens)))
        };
    }
    if input.peek(syn::token::Paren) {
        return list(key, input);
    }
    let rest: TokenStream = input.parse()?;
    Err(syn::Error::new_spanned(rest, format!("expected `=`, `(…)` or `,` after `{key}`")))
}

fn list(key: &Ident, input: ParseStream<'_>) -> syn::Result<Form> {
    let content;
    syn::parenthesized!(content in input);
    let inner: TokenStream = content.parse()?;
    if !input.is_empty() {
        let rest: TokenStream = input.parse()?;
        return Err(syn::Error::new_spanned(rest, format!("expected `,` after `{key}(…)`")));
    }
    split(inner).into_iter().map(|tokens| item.parse2(tokens)).collect::<syn::Result<_>>().map(Form::List)
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
        return input.call(Ident::parse_any).map(Kind::Name);
    }
    let literal: Lit = input.parse()?;
    match literal {
        Lit::Str(text) => Ok(Kind::Text(text.value())),
        Lit::Int(number) if number.suffix().is_empty() && !number.base10_digits().starts_with('-') => {
            let number = number.base10_parse().ok();
            if input.is_empty() { Ok(Kind::Integer(number)) } else { range(number, input) }
        }
        _ => Ok(Kind::Other),
    }
}

fn range(first: Option<u64>, input: ParseStream<'_>) -> syn::Result<Kind> {
    let closed = input.peek(Token![..=]);
    if closed {
        input.parse::<Token![..=]>()?;
    } else {
        input.parse::<Token![..]>()?;
    }
    if input.is_empty() && !closed {
        return Ok(Kind::Range { first, last: None, closed: true });
    }
    let last = input.parse::<syn::LitInt>()?.base10_parse().ok();
    Ok(Kind::Range { first, last, closed })
}

impl ToTokens for Argument {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.key.to_tokens(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Mistakes;
    use quote::quote;

    fn messages(tokens: TokenStream) -> Vec<String> {
        let mistakes = Mistakes::new();
        arguments(tokens, &mistakes.sink());
        mistakes.into_messages()
    }

    #[test]
    fn all_forms_are_read() {
        let mistakes = Mistakes::new();
        let read = arguments(quote!(a, b = 1..=3, c("x", d = e, f), r#type = "t",), &mistakes.sink());
        assert!(mistakes.into_messages().is_empty());
        assert!(matches!(read[0].form, Form::Flag));
        assert!(matches!(
            &read[1].form,
            Form::Value(Value { kind: Kind::Range { first: Some(1), last: Some(3), closed: true }, .. })
        ));
        assert!(matches!(&read[2].form, Form::List(items) if items.len() == 3));
        assert_eq!(read[3].name(), "type");
    }

    #[test]
    fn one_mistake_does_not_hide_the_next() {
        assert_eq!(
            messages(quote!(a =, "b", c d, e = (1, 2), f = "g" h)),
            [
                "a value is missing after `a =`",
                "expected `=`, `(…)` or `,` after `c`",
                "write `e(…)`, without `=`",
                "a comma is missing before this",
                "a key is expected here, such as in `get = \"/path\"` or `timeout = \"5s\"`",
            ]
        );
    }
}
