//! `#[problem(…)]` on a variant or a struct.

use std::time::Duration;

use syn::{Attribute, Fields, Ident};

use super::category::{self, Category, Retryable};
use super::code::{is_code, screaming_snake, title};
use crate::derive::attribute_items;
use crate::errors::Sink;
use crate::grammar::unread_option;
use crate::parse::{Argument, Form, Item, Kind, Options, units};
use crate::suggest;

/// The options after the category.
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

/// The problem of a case.
pub(crate) enum Problem {
    /// The problem of the inner error.
    Transparent,
    /// A problem that the attribute declares.
    Declared(Box<Declared>),
}

/// A problem that the attribute declares.
pub(crate) struct Declared {
    pub(crate) category: &'static Category,
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) effects_none: bool,
    /// The JSON pointer of the invalid member, as a URI fragment.
    pub(crate) pointer: Option<String>,
    pub(crate) retryable: bool,
}

impl Problem {
    /// Parses the attributes of a variant or a struct. Returns `None` if the category is missing or
    /// unknown.
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
                    "`{name}` needs a problem: write `{EXAMPLE}`, or `#[problem(transparent)]`"
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
                let names = suggest::list(category::names().chain(["transparent"]));
                sink.report(
                    name,
                    format!(
                        "the problem of `{name}` needs a category first, one of {names}: write `{EXAMPLE}`"
                    ),
                );
            }
            return None;
        };
        if first.name() == "transparent" {
            check_transparent(first, options, fields, &own);
            return Some(Self::Transparent);
        }
        let Some(category) = category::find(&first.name()) else {
            let names = category::names().chain(["transparent"]);
            let suggestion = suggest::suggestion(&first.name(), names);
            own.report(
                &first.key,
                format!("unknown category `{}`, {suggestion}", first.name()),
            );
            return None;
        };
        Some(Self::Declared(Box::new(Declared::parse(
            category, name, options, &own,
        ))))
    }
}

impl Problem {
    /// Returns the error message for an extension, if this problem cannot have one.
    pub(crate) fn extension_error(&self) -> Option<&'static str> {
        match self {
            Self::Transparent => Some(
                "`extension` and `transparent` exclude each other, since the problem is the inner error's: remove one",
            ),
            Self::Declared(problem) if problem.status >= 500 => Some(
                "a 5xx problem cannot have an extension, since it hides details from clients: remove \
                 `#[problem(extension)]`, and write details for the log into the error's text",
            ),
            Self::Declared(_) => None,
        }
    }
}

fn check_transparent(first: &Argument, options: &[Item], fields: &Fields, sink: &Sink<'_>) {
    if !options.is_empty() {
        sink.report(
            &first.key,
            "`transparent` takes no options, since the problem is the inner error's: write `#[problem(transparent)]`",
        );
    } else if fields.len() != 1 {
        sink.report(
            &first.key,
            "`transparent` needs exactly one field: write the inner error as the only field",
        );
    }
}

impl Declared {
    /// Returns true if both problems have the same code, but another category, status or title.
    ///
    /// Problems with a pointer are not compared, because their document has the framework's code.
    /// Their own code appears only in the `errors` member.
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        let meaning = |problem: &Self| {
            (
                problem.category.variant,
                problem.status,
                problem.title.clone(),
            )
        };
        let own_codes = self.pointer.is_none() && other.pointer.is_none();
        own_codes && self.code == other.code && meaning(self) != meaning(other)
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
                "title" => problem.title = title_text(option, sink).unwrap_or_default(),
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
        problem.check_pointer_options(&options, sink);
        problem.set_defaults(&options, name, sink);
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

    /// Reports `title` and `status` together with `pointer`. A problem with a pointer is the
    /// framework's `VALIDATION_FAILED`, whose title and status are fixed.
    fn check_pointer_options(&self, options: &[(&'static str, &Argument)], sink: &Sink<'_>) {
        if self.pointer.is_none() {
            return;
        }
        for (key, option) in options
            .iter()
            .filter(|(key, _)| ["title", "status"].contains(key))
        {
            sink.report(
                &option.key,
                format!("`{key}` and `pointer` exclude each other, since a problem with `pointer` is the 422 `VALIDATION_FAILED`: remove one"),
            );
        }
    }

    /// Sets a missing code and a missing title. The code follows from the name of the variant or
    /// struct, and the title follows from the code.
    fn set_defaults(
        &mut self,
        options: &[(&'static str, &Argument)],
        name: &Ident,
        sink: &Sink<'_>,
    ) {
        let is_given = |name: &str| options.iter().any(|(key, _)| *key == name);
        if !is_given("code") {
            self.code = screaming_snake(&syn::ext::IdentExt::unraw(name).to_string());
            if !is_code(&self.code) {
                let code = &self.code;
                let rule = if code.len() == 1 {
                    format!(
                        "the name `{name}` gives the code `{code}`, which needs a second character"
                    )
                } else {
                    "no code can be derived from this name".to_owned()
                };
                sink.report(name, format!("{rule}: write `code = \"SOME_CODE\"`"));
            }
        }
        if !is_given("title") {
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
    let similar = Some(screaming_snake(words.trim_matches('_'))).filter(|code| is_code(code));
    let example = similar.unwrap_or_else(|| String::from("INSUFFICIENT_FUNDS"));
    sink.report(
        &value.tokens,
        format!(
            "\"{text}\" is not a code: write two or more upper-case ASCII letters, digits and _, starting with a letter, such \
             as \"{example}\""
        ),
    );
    None
}

fn title_text(option: &Argument, sink: &Sink<'_>) -> Option<String> {
    let (text, value) = option.text("title = \"Insufficient funds\"", sink)?;
    if text.trim().is_empty() {
        sink.report(
            &value.tokens,
            "`title` needs a text: write `title = \"Insufficient funds\"`",
        );
    }
    Some(text)
}

fn status(category: &Category, option: &Argument, sink: &Sink<'_>) -> Option<u16> {
    let example = format!("status = {}", category.statuses.first()?);
    let (number, value) = option.positive_integer(&example, sink)?;
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
                "the status of a `{}` problem cannot be {number}: write one of {accepted}",
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
    let name = category.name;
    let error = match category.retryable {
        Retryable::Never => Some(format!(
            "a `{name}` problem is never retryable: remove `retry_after`"
        )),
        Retryable::Declared if !retryable => Some(format!(
            "a `{name}` problem is not retryable by default: add `retryable = true`, or remove `retry_after`"
        )),
        Retryable::Declared | Retryable::Depends | Retryable::Always => None,
    };
    if let Some(message) = error {
        sink.report(&option.key, message);
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
                "`pointer` needs the category `validation`: write it instead of `{}`, or remove `pointer`",
                category.name
            ),
        );
        return None;
    }
    if text != "#" && !text.starts_with("#/") {
        let path = text.trim_start_matches(['#', '/', '.']);
        sink.report(
            &value.tokens,
            format!("\"{text}\" is not a JSON pointer: write \"#/{path}\""),
        );
        return None;
    }
    let escaped = escaped(&text[1..]);
    if text[1..] != escaped {
        sink.report(
            &value.tokens,
            format!("a JSON pointer is a URI fragment and needs escapes: write \"#{escaped}\""),
        );
        return None;
    }
    Some(text)
}

/// Escapes a JSON pointer for a URI fragment (RFC 6901 section 6). Existing escapes are not
/// changed.
fn escaped(pointer: &str) -> String {
    let bytes = pointer.as_bytes();
    let is = |index: usize, kind: fn(&u8) -> bool| bytes.get(index).is_some_and(kind);
    let is_allowed = |index: usize, byte: u8| match byte {
        b'%' => is(index + 1, u8::is_ascii_hexdigit) && is(index + 2, u8::is_ascii_hexdigit),
        b'~' => is(index + 1, |next| b"01".contains(next)),
        _ => byte.is_ascii_alphanumeric() || b"!$&'()*+,-./:;=?@_".contains(&byte),
    };
    let escape = |(index, byte): (usize, &u8)| match byte {
        byte if is_allowed(index, *byte) => char::from(*byte).to_string(),
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
            .report_wrong_value::<()>(value, "only `true`", example, sink)
            .is_some();
    }
    match category.retryable {
        Retryable::Declared | Retryable::Depends => return true,
        Retryable::Always => {
            sink.report(
                &option.key,
                format!(
                    "a `{}` problem is always retryable: remove `retryable`",
                    category.name
                ),
            );
        }
        Retryable::Never => sink.report(
            &option.key,
            format!(
                "a `{}` problem is never retryable: remove `retryable`",
                category.name
            ),
        ),
    }
    false
}
