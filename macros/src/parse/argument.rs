//! The arguments of an attribute, and the methods with which a policy reads them.
//!
//! The methods also report wrong values. The same mistake therefore has the same message for every
//! key.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Ident;
use syn::ext::IdentExt;

use crate::errors::Sink;
use crate::suggest;

/// One argument of an attribute, or one option in the list of an argument.
pub(crate) struct Argument {
    /// The key or the name of the option.
    pub(crate) key: Ident,
    /// The rest of the argument.
    pub(crate) form: Form,
}

/// The syntactic form of an argument.
pub(crate) enum Form {
    /// `key`
    Flag,
    /// `key = value`
    Value(Value),
    /// `key(…)`
    List(Vec<Item>),
}

/// One item of a list.
pub(crate) enum Item {
    /// A positional value.
    Value(Value),
    /// A named option.
    Option(Argument),
}

/// A value, with its tokens for messages.
pub(crate) struct Value {
    /// The parsed value.
    pub(crate) kind: Kind,
    /// The value as written.
    pub(crate) tokens: TokenStream,
}

/// A parsed value.
pub(crate) enum Kind {
    /// `"text"`
    Text(String),
    /// `12`; `None` if it does not fit into 64 bits.
    Integer(Option<u64>),
    /// `name`
    Name(Ident),
    /// `1..`, `1..=3` or `1..3`. `first` is `None` if it does not fit into 64 bits. `last` is
    /// `None` for `1..`. `closed` is `false` only for `1..3`, which is an error.
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
    /// Returns the key as text, without the `r#` of a raw identifier.
    pub(crate) fn name(&self) -> String {
        self.key.unraw().to_string()
    }

    /// Returns the text of `key = "text"`, or reports an error that shows the example.
    pub(crate) fn text(&self, example: &str, sink: &Sink<'_>) -> Option<(String, &Value)> {
        match self.value(example, sink)? {
            value @ Value {
                kind: Kind::Text(text),
                ..
            } => Some((text.clone(), value)),
            value => self.report_wrong_value(value, "a string literal", example, sink),
        }
    }

    /// Returns the integer of `key = 12`, or reports an error that shows the example. 0 is an
    /// error.
    pub(crate) fn positive_integer(&self, example: &str, sink: &Sink<'_>) -> Option<(u64, &Value)> {
        match self.value(example, sink)? {
            value @ Value {
                kind: Kind::Integer(Some(number)),
                ..
            } if *number > 0 => Some((*number, value)),
            value => self.report_wrong_value(value, "an integer of at least 1", example, sink),
        }
    }

    /// Returns the name of `key = name`, or reports an error if the name is not accepted.
    pub(crate) fn one_of(
        &self,
        accepted: &[&'static str],
        sink: &Sink<'_>,
    ) -> Option<(&'static str, &Value)> {
        let key = self.name();
        let example = format!("{key} = {}", accepted.first().copied().unwrap_or_default());
        let value = self.value(&example, sink)?;
        let Kind::Name(name) = &value.kind else {
            return self.report_wrong_value(value, "a name without quotes", &example, sink);
        };
        let found = accepted.iter().find(|accepted| name == *accepted);
        if found.is_none() {
            let suggestion = suggest::suggestion(&name.to_string(), accepted.iter().copied());
            sink.report(
                &value.tokens,
                format!("unknown value `{name}` of `{key}`, {suggestion}"),
            );
        }
        found.map(|found| (*found, value))
    }

    /// Returns true for `key` alone. Reports a value or a list.
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

    /// Returns the value of `key = value`, or reports an error that shows the example.
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

    /// Reports a value of the wrong kind, and returns `None`.
    pub(crate) fn report_wrong_value<T>(
        &self,
        value: &Value,
        expected: &str,
        example: &str,
        sink: &Sink<'_>,
    ) -> Option<T> {
        sink.report(
            &value.tokens,
            format!("`{}` takes {expected}: write `{example}`", self.name()),
        );
        None
    }
}

impl ToTokens for Argument {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.key.to_tokens(tokens);
    }
}
