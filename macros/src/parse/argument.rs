//! Arguments, and how a key reads its own: each way of being wrong has one message.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Ident;
use syn::ext::IdentExt;

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
    Range {
        first: Option<u64>,
        last: Option<u64>,
        closed: bool,
    },
    /// `name(…)`
    Call(Ident, TokenStream),
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
            value @ Value {
                kind: Kind::Text(text),
                ..
            } => Some((text.clone(), value)),
            value => self.wrong(value, "text in quotes", example, sink),
        }
    }

    /// The positive integer of `key = 12`.
    pub(crate) fn positive(&self, example: &str, sink: &Sink<'_>) -> Option<(u64, &Value)> {
        match self.value(example, sink)? {
            value @ Value {
                kind: Kind::Integer(Some(number)),
                ..
            } if *number > 0 => Some((*number, value)),
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
            let instead = suggest::suggestion(&name.to_string(), accepted.iter().copied());
            sink.report(
                &value.tokens,
                format!("`{key}` cannot be `{name}`: {instead}"),
            );
        }
        found.map(|found| (*found, value))
    }

    /// Whether the flag is given; a value is reported.
    pub(crate) fn flag(&self, sink: &Sink<'_>) -> bool {
        let key = self.name();
        match &self.form {
            Form::Flag => return true,
            Form::Value(value) => {
                sink.report(
                    &value.tokens,
                    format!("`{key}` is a flag and takes no value: write `{key}`"),
                );
            }
            Form::List(_) => {
                sink.report(
                    &self.key,
                    format!("`{key}` is a flag and takes no options: write `{key}`"),
                );
            }
        }
        false
    }

    /// The value of `key = value`.
    pub(crate) fn value(&self, example: &str, sink: &Sink<'_>) -> Option<&Value> {
        let key = self.name();
        match &self.form {
            Form::Value(value) => return Some(value),
            Form::Flag => sink.report(
                &self.key,
                format!("`{key}` needs a value: write `{example}`"),
            ),
            Form::List(_) => sink.report(
                &self.key,
                format!("`{key}` takes one value: write `{example}`"),
            ),
        }
        None
    }

    /// Reports a value of the wrong kind.
    pub(crate) fn wrong<T>(
        &self,
        value: &Value,
        wanted: &str,
        example: &str,
        sink: &Sink<'_>,
    ) -> Option<T> {
        sink.report(
            &value.tokens,
            format!("`{}` takes {wanted}: write `{example}`", self.name()),
        );
        None
    }
}

impl ToTokens for Argument {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.key.to_tokens(tokens);
    }
}
