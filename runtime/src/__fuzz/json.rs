//! A naive reading of JSON and of its canonical form, to hold the real one to.

use core::iter::{Cycle, once};
use core::slice::Iter;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// A JSON value. Numbers and literals are as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Lexeme(String),
    Text(String),
    List(Vec<Value>),
    Members(BTreeMap<String, Value>),
}

impl Value {
    /// What `serde_json` takes for JSON, unless a name is there twice or it is deeper than 128.
    pub(super) fn of_text(text: &[u8]) -> Option<Self> {
        serde_json::from_slice::<IgnoredAny>(text).ok()?;
        let mut rest = core::str::from_utf8(text).ok()?;
        value(&mut rest, 128)
    }

    pub(super) fn form(&self) -> Vec<u8> {
        match self {
            Self::Lexeme(lexeme) => match LITERALS.iter().find(|(literal, _)| literal == lexeme) {
                Some((_, form)) => vec![*form],
                None => sized(b'n', lexeme),
            },
            Self::Text(text) => sized(b's', text),
            Self::List(values) => {
                let values = values.iter().flat_map(Self::form);
                once(b'[').chain(values).chain(once(b']')).collect()
            }
            Self::Members(members) => {
                let members = members
                    .iter()
                    .flat_map(|(name, value)| [sized(b's', name), value.form()].concat());
                once(b'{').chain(members).chain(once(b'}')).collect()
            }
        }
    }

    /// The one value that has the form.
    pub(super) fn of_form(form: &[u8]) -> Option<Self> {
        let mut rest = form;
        let value = of_form(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    /// A text of the value. The style says which of many.
    pub(super) fn text(&self, style: &mut Style<'_>) -> String {
        let body = match self {
            Self::Lexeme(lexeme) => lexeme.clone(),
            Self::Text(text) => string(text, style),
            Self::List(values) => list(
                '[',
                &values
                    .iter()
                    .map(|value| value.text(style))
                    .collect::<Vec<_>>(),
                ']',
            ),
            Self::Members(members) => list('{', &shuffled(members, style), '}'),
        };
        format!("{}{body}{}", style.space(), style.space())
    }
}

/// Choices, repeated for ever.
pub(super) struct Style<'a>(Cycle<Iter<'a, u8>>);

impl<'a> Style<'a> {
    pub(super) fn new(choices: &'a [u8]) -> Self {
        Self(choices.iter().cycle())
    }

    fn choose(&mut self) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default())
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n", "\t", "\r\n", "  "][self.choose() % 8]
    }
}

fn list(begin: char, parts: &[String], end: char) -> String {
    format!("{begin}{}{end}", parts.join(","))
}

fn shuffled(members: &BTreeMap<String, Value>, style: &mut Style<'_>) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in members {
        let place = style.choose() % (parts.len() + 1);
        let (before, name, after) = (style.space(), string(name, style), style.space());
        parts.insert(
            place,
            format!("{before}{name}{after}:{}", value.text(style)),
        );
    }
    parts
}

fn string(text: &str, style: &mut Style<'_>) -> String {
    let inner: String = text
        .chars()
        .map(|character| written(character, style.choose()))
        .collect();
    format!("\"{inner}\"")
}

fn written(character: char, choice: usize) -> String {
    let short = "\"\\/\u{8}\u{c}\n\r\t"
        .chars()
        .zip("\"\\/bfnrt".chars())
        .find(|(raw, _)| *raw == character);
    let must = character < ' ' || "\"\\".contains(character);
    match (choice % 4, short) {
        (0 | 1, _) if !must => character.to_string(),
        (0 | 2, Some((_, letter))) => format!("\\{letter}"),
        (3, _) => escaped(character).to_uppercase().replace('U', "u"),
        _ => escaped(character),
    }
}

fn escaped(character: char) -> String {
    let units: Vec<_> = character
        .encode_utf16(&mut [0; 2])
        .iter()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    units.concat()
}

/// Takes a value from what is known to be JSON.
fn value(rest: &mut &str, depth: usize) -> Option<Value> {
    *rest = rest.trim_start();
    match rest.as_bytes().first()? {
        b'"' => text(rest).map(Value::Text),
        b'[' => values(rest, depth.checked_sub(1)?).map(Value::List),
        b'{' => members(rest, depth.checked_sub(1)?).map(Value::Members),
        _ => {
            let end = rest
                .find([' ', '\t', '\r', '\n', ',', ']', '}'])
                .unwrap_or(rest.len());
            let (lexeme, after) = rest.split_at(end);
            *rest = after;
            Some(Value::Lexeme(lexeme.to_owned()))
        }
    }
}

fn values(rest: &mut &str, depth: usize) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    skip(rest, '[');
    while !skip(rest, ']') {
        values.push(value(rest, depth)?);
        skip(rest, ',');
    }
    Some(values)
}

fn members(rest: &mut &str, depth: usize) -> Option<BTreeMap<String, Value>> {
    let mut members = BTreeMap::new();
    skip(rest, '{');
    while !skip(rest, '}') {
        let name = text(rest)?;
        skip(rest, ':');
        if members.insert(name, value(rest, depth)?).is_some() {
            return None;
        }
        skip(rest, ',');
    }
    Some(members)
}

/// Takes the character, if it is the next one.
fn skip(rest: &mut &str, character: char) -> bool {
    *rest = rest.trim_start();
    let after = rest.strip_prefix(character);
    *rest = after.unwrap_or(rest).trim_start();
    after.is_some()
}

/// Takes a string, as `serde_json` decodes it.
fn text(rest: &mut &str) -> Option<String> {
    let mut bytes = rest.bytes().enumerate().skip(1);
    let end = loop {
        match bytes.next()? {
            (at, b'"') => break at + 1,
            (_, b'\\') => drop(bytes.next()),
            _ => {}
        }
    };
    let (string, after) = rest.split_at(end);
    *rest = after;
    serde_json::from_str(string).ok()
}

const LITERALS: [(&str, u8); 3] = [("true", b't'), ("false", b'f'), ("null", b'z')];

fn sized(tag: u8, text: &str) -> Vec<u8> {
    let length = match text.len() {
        length @ 0..255 => vec![length.to_be_bytes()[size_of::<usize>() - 1]],
        length => [&[255], &(length as u64).to_be_bytes()[..]].concat(),
    };
    [&[tag], &length[..], text.as_bytes()].concat()
}

fn of_form(rest: &mut &[u8]) -> Option<Value> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    let mut values = Vec::new();
    let mut members = BTreeMap::new();
    match first {
        b's' => return take(rest).map(Value::Text),
        b'n' => return take(rest).map(Value::Lexeme),
        b'[' => {
            while !rest.starts_with(b"]") {
                values.push(of_form(rest)?);
            }
        }
        b'{' => {
            while !rest.starts_with(b"}") {
                let Value::Text(name) = of_form(rest)? else {
                    return None;
                };
                members.insert(name, of_form(rest)?);
            }
        }
        letter => {
            let (literal, _) = LITERALS.iter().find(|(_, form)| form == letter)?;
            return Some(Value::Lexeme((*literal).to_owned()));
        }
    }
    *rest = &rest[1..];
    Some(if *first == b'[' {
        Value::List(values)
    } else {
        Value::Members(members)
    })
}

/// Takes what has its length in front.
fn take(rest: &mut &[u8]) -> Option<String> {
    let (length, after) = rest.split_first()?;
    let (length, after) = match length {
        255 => after
            .split_first_chunk()
            .map(|(length, after)| (u64::from_be_bytes(*length), after))?,
        short => (u64::from(*short), after),
    };
    let (taken, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    String::from_utf8(taken.to_vec()).ok()
}
