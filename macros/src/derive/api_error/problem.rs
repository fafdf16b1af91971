//! One `#[problem(…)]`, parsed and checked.

use std::time::Duration;

use syn::{Attribute, Fields, Ident};

use super::category::{self, Category, Retryable};
use super::code::{is_code, screaming_snake, title};
use crate::derive::attribute_items;
use crate::errors::Sink;
use crate::grammar::unread_option;
use crate::parse::{Argument, Form, Item, Kind, Options, units};
use crate::suggest;

/// The options of `#[problem(<category>, …)]`.
pub(super) const OPTIONS: &[&str] = &[
    "code",
    "title",
    "status",
    "retry_after",
    "effects",
    "pointer",
    "retryable",
];
const EXAMPLE: &str = "#[problem(conflict, code = \"INSUFFICIENT_FUNDS\")]";

/// Which problem a case is.
pub(crate) enum Problem {
    /// The inner error's own.
    Transparent,
    /// One of this kind.
    Declared(Box<Declared>),
}

/// A declared kind of problem.
pub(crate) struct Declared {
    pub(crate) category: &'static Category,
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) effects_none: bool,
    pub(crate) pointer: Option<String>,
    pub(crate) retryable: bool,
}

impl Problem {
    /// Reads the attributes of a variant or struct; mistakes are reported.
    pub(crate) fn parse(
        attributes: &[Attribute],
        name: &Ident,
        fields: &Fields,
        sink: &Sink<'_>,
    ) -> Option<Self> {
        let own = sink.child();
        let Some(items) = attribute_items(attributes, "problem", EXAMPLE, &own) else {
            sink.report(
                name,
                format!(
                    "which problem `{name}` is must be said: write `{EXAMPLE}`, or `#[problem(transparent)]`"
                ),
            );
            return None;
        };
        let Some((
            Item::Option(
                first @ Argument {
                    form: Form::Flag, ..
                },
            ),
            options,
        )) = items.split_first()
        else {
            if !own.failed() {
                let names = suggest::list(category::names());
                let message = format!("the category of `{name}` comes first: write `{EXAMPLE}`");
                sink.report(name, format!("{message}; accepted: {names}, `transparent`"));
            }
            return None;
        };
        if first.name() == "transparent" {
            transparent(first, options, fields, &own);
            return Some(Self::Transparent);
        }
        let Some(category) = category::find(&first.name()) else {
            let names = category::names().chain(["transparent"]);
            let instead = suggest::suggestion(&first.name(), names);
            own.report(
                &first.key,
                format!("there is no category `{}`: {instead}", first.name()),
            );
            return None;
        };
        Some(Self::Declared(Box::new(Declared::parse(
            category, name, options, &own,
        ))))
    }
}

impl Problem {
    /// Why a document of this problem shows no fields, if it shows none.
    pub(crate) fn hides_extensions(&self) -> Option<&'static str> {
        match self {
            Self::Transparent => {
                Some("a transparent problem is the inner error's own: it has no extensions here")
            }
            Self::Declared(problem) if problem.status >= 500 => Some(
                "a 5xx tells a client nothing of what happened: remove `#[problem(extension)]`; put into the \
                 error's text what the log should say",
            ),
            Self::Declared(_) => None,
        }
    }
}

fn transparent(first: &Argument, options: &[Item], fields: &Fields, sink: &Sink<'_>) {
    if !options.is_empty() {
        sink.report(
            &first.key,
            "a transparent problem is the inner error's own: write `#[problem(transparent)]` alone",
        );
    } else if fields.len() != 1 {
        sink.report(
            &first.key,
            "a transparent problem needs exactly one field, which is the inner error",
        );
    }
}

impl Declared {
    /// Whether a client that knows the code would take one for the other. A mistake in one member has the
    /// framework's code, and its own beside the place.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        let kind = |problem: &Self| {
            (
                problem.category.variant,
                problem.status,
                problem.title.clone(),
            )
        };
        let own = self.pointer.is_none() && other.pointer.is_none();
        own && self.code == other.code && kind(self) != kind(other)
    }

    fn parse(category: &'static Category, name: &Ident, items: &[Item], sink: &Sink<'_>) -> Self {
        let mut problem = Self::default_spec(category);
        let options = (Options {
            of: "problem",
            keys: OPTIONS,
        })
        .read(items, sink);
        let mut retry_after = None;
        for (key, option) in &options {
            match *key {
                "code" => problem.code = code(option, sink).unwrap_or_default(),
                "title" => problem.title = sentence(option, sink).unwrap_or_default(),
                "status" => {
                    problem.status = status(category, option, sink).unwrap_or(problem.status);
                }
                "retry_after" => retry_after = Some(*option),
                "effects" => problem.effects_none = option.one_of(&["none"], sink).is_some(),
                "pointer" => problem.pointer = pointer(category, option, sink),
                "retryable" => problem.retryable = retryable(category, option, sink),
                other => unread_option("problem", other),
            }
        }
        problem.retry_after = retry_after
            .and_then(|option| check_retry_after(category, problem.retryable, option, sink));
        problem.field_only(&options, sink);
        problem.defaults(&options, name, sink);
        problem
    }

    fn default_spec(category: &'static Category) -> Self {
        Self {
            category,
            code: String::new(),
            title: String::new(),
            status: category.statuses.first().copied().unwrap_or(500),
            retry_after: None,
            effects_none: false,
            pointer: None,
            retryable: false,
        }
    }

    /// A mistake in one member is told under the framework's own code, whose title and status are
    /// fixed.
    fn field_only(&self, options: &[(&'static str, &Argument)], sink: &Sink<'_>) {
        if self.pointer.is_none() {
            return;
        }
        for (key, option) in options
            .iter()
            .filter(|(key, _)| ["title", "status"].contains(key))
        {
            sink.report(
                &option.key,
                format!("with `pointer` the problem is `VALIDATION_FAILED`, a 422 with a title of its own: remove `{key}`"),
            );
        }
    }

    fn defaults(&mut self, options: &[(&'static str, &Argument)], name: &Ident, sink: &Sink<'_>) {
        let given = |wanted: &str| options.iter().any(|(key, _)| *key == wanted);
        if !given("code") {
            self.code = screaming_snake(&syn::ext::IdentExt::unraw(name).to_string());
            if !is_code(&self.code) {
                let code = &self.code;
                let rule = if code.len() == 1 {
                    format!(
                        "the name `{name}` gives the code `{code}`, and a code has two characters or more"
                    )
                } else {
                    "no code can be made of this name".to_owned()
                };
                sink.report(name, format!("{rule}: write `code = \"SOME_CODE\"`"));
            }
        }
        if !given("title") {
            self.title = title(&self.code);
        }
    }
}

fn code(option: &Argument, sink: &Sink<'_>) -> Option<String> {
    let (text, value) = option.text("code = \"INSUFFICIENT_FUNDS\"", sink)?;
    if is_code(&text) {
        return Some(text);
    }
    let words: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let near = Some(screaming_snake(words.trim_matches('_'))).filter(|near| is_code(near));
    let instead = near.map_or_else(String::new, |near| format!(": write \"{near}\""));
    sink.report(
        &value.tokens,
        format!("a code has two or more upper-case letters, digits and _, beginning with a letter{instead}"),
    );
    None
}

fn sentence(option: &Argument, sink: &Sink<'_>) -> Option<String> {
    let (text, value) = option.text("title = \"Insufficient funds\"", sink)?;
    if text.trim().is_empty() {
        sink.report(
            &value.tokens,
            "a title says in a few words what is wrong, such as \"Insufficient funds\"",
        );
    }
    Some(text)
}

fn status(category: &Category, option: &Argument, sink: &Sink<'_>) -> Option<u16> {
    let example = format!("status = {}", category.statuses.first()?);
    let (number, value) = option.positive(&example, sink)?;
    let found = category
        .statuses
        .iter()
        .find(|status| u64::from(**status) == number);
    if found.is_none() {
        let accepted: Vec<String> = category.statuses.iter().map(ToString::to_string).collect();
        let accepted = accepted.join(", ");
        sink.report(
            &value.tokens,
            format!(
                "a `{}` problem is never a {number}: it is one of {accepted}",
                category.name
            ),
        );
    }
    found.copied()
}

fn check_retry_after(
    category: &Category,
    retryable: bool,
    option: &Argument,
    sink: &Sink<'_>,
) -> Option<Duration> {
    let (text, value) = option.text("retry_after = \"2s\"", sink)?;
    let again = match category.retryable {
        Retryable::Never => false,
        Retryable::Declared => retryable,
        Retryable::Depends | Retryable::Always => true,
    };
    if !again {
        let instead = if category.retryable == Retryable::Declared {
            ", or add `retryable = true`"
        } else {
            ""
        };
        sink.report(
            &option.key,
            format!("the same request cannot succeed later when it is a `{}` problem: remove `retry_after`{instead}", category.name),
        );
        return None;
    }
    units::duration(&text)
        .map_err(|message| sink.report(&value.tokens, message))
        .ok()
}

fn pointer(category: &Category, option: &Argument, sink: &Sink<'_>) -> Option<String> {
    let (text, value) = option.text("pointer = \"#/amount\"", sink)?;
    if category.name != "validation" {
        sink.report(
            &option.key,
            format!(
                "a pointer names wrong data, which is a `validation` problem, not a `{}` one",
                category.name
            ),
        );
        return None;
    }
    if text != "#" && !text.starts_with("#/") {
        let path = text.trim_start_matches(['#', '/', '.']);
        sink.report(
            &value.tokens,
            format!("a pointer begins with `#/`: write \"#/{path}\""),
        );
        return None;
    }
    let escaped = escaped(&text[1..]);
    if text[1..] != escaped {
        sink.report(
            &value.tokens,
            format!(
                "a pointer stands in a document as the fragment of a URI: write \"#{escaped}\""
            ),
        );
        return None;
    }
    Some(text)
}

/// A pointer as RFC 6901 §6 has it: what is escaped already stays.
fn escaped(pointer: &str) -> String {
    let bytes = pointer.as_bytes();
    let is = |index: usize, kind: fn(&u8) -> bool| bytes.get(index).is_some_and(kind);
    let as_it_is = |index: usize, byte: u8| match byte {
        b'%' => is(index + 1, u8::is_ascii_hexdigit) && is(index + 2, u8::is_ascii_hexdigit),
        b'~' => is(index + 1, |next| b"01".contains(next)),
        _ => byte.is_ascii_alphanumeric() || b"!$&'()*+,-./:;=?@_".contains(&byte),
    };
    let escape = |(index, byte): (usize, &u8)| match byte {
        byte if as_it_is(index, *byte) => char::from(*byte).to_string(),
        b'~' => String::from("~0"),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().enumerate().map(escape).collect()
}

fn retryable(category: &Category, option: &Argument, sink: &Sink<'_>) -> bool {
    let example = "retryable = true";
    let Some(value) = option.value(example, sink) else {
        return false;
    };
    if !(matches!(value.kind, Kind::Other) && value.tokens.to_string() == "true") {
        return option
            .wrong::<()>(
                value,
                "`true`, and is `false` where it is left out",
                example,
                sink,
            )
            .is_some();
    }
    match category.retryable {
        Retryable::Declared | Retryable::Depends => return true,
        Retryable::Always => {
            sink.report(
                &option.key,
                format!("a `{}` problem is always retryable: remove `retryable`", category.name),
            );
        }
        Retryable::Never => sink.report(
            &option.key,
            format!(
                "the same request cannot succeed later when it is a `{}` problem: remove `retryable`",
                category.name
            ),
        ),
    }
    false
}
