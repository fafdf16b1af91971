//! A simple reference implementation of JSON and its canonical form. The fuzz targets compare it
//! with the implementation that the policies use.

use core::iter::{Cycle, once};
use core::slice::Iter;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// A JSON value. Numbers and literals keep their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Lexeme(String),
    Text(String),
    List(Vec<Value>),
    Members(BTreeMap<String, Value>),
}

impl Value {
    /// Parses a JSON text that `serde_json` accepts. Returns `None` for other texts, for objects
    /// with a repeated name, and for values that are nested more than 128 deep.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice::<IgnoredAny>(text).ok()?;
        let mut rest = core::str::from_utf8(text).ok()?;
        value(&mut rest, 128)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Lexeme(lexeme) => match LITERALS.iter().find(|(literal, _)| literal == lexeme) {
                Some((_, byte)) => vec![*byte],
                None => with_length(b'n', lexeme),
            },
            Self::Text(text) => with_length(b's', text),
            Self::List(values) => {
                let values = values.iter().flat_map(Self::encode);
                once(b'[').chain(values).chain(once(b']')).collect()
            }
            Self::Members(members) => {
                let members = members
                    .iter()
                    .flat_map(|(name, value)| [with_length(b's', name), value.encode()].concat());
                once(b'{').chain(members).chain(once(b'}')).collect()
            }
        }
    }

    /// Decodes a canonical form. Each canonical form encodes exactly one value.
    pub(super) fn decode(form: &[u8]) -> Option<Self> {
        let mut rest = form;
        let value = decode_value(&mut rest)?;
        rest.is_empty().then_some(value)
    }

    /// Writes the value as JSON. The style chooses spaces, escapes and the order of members.
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

/// An endless sequence of choices, which repeats the given bytes.
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
        let position = style.choose() % (parts.len() + 1);
        let (before, name, after) = (style.space(), string(name, style), style.space());
        parts.insert(
            position,
            format!("{before}{name}{after}:{}", value.text(style)),
        );
    }
    parts
}

fn string(text: &str, style: &mut Style<'_>) -> String {
    let inner: String = text
        .chars()
        .map(|character| write_character(character, style.choose()))
        .collect();
    format!("\"{inner}\"")
}

fn write_character(character: char, choice: usize) -> String {
    let short_escape = "\"\\/\u{8}\u{c}\n\r\t"
        .chars()
        .zip("\"\\/bfnrt".chars())
        .find(|(raw, _)| *raw == character);
    let must_escape = character < ' ' || "\"\\".contains(character);
    match (choice % 4, short_escape) {
        (0 | 1, _) if !must_escape => character.to_string(),
        (0 | 2, Some((_, letter))) => format!("\\{letter}"),
        (3, _) => escape(character).to_uppercase().replace('U', "u"),
        _ => escape(character),
    }
}

fn escape(character: char) -> String {
    let units: Vec<_> = character
        .encode_utf16(&mut [0; 2])
        .iter()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    units.concat()
}

/// Reads a value from a text that is valid JSON.
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
    skip_character(rest, '[');
    while !skip_character(rest, ']') {
        values.push(value(rest, depth)?);
        skip_character(rest, ',');
    }
    Some(values)
}

fn members(rest: &mut &str, depth: usize) -> Option<BTreeMap<String, Value>> {
    let mut members = BTreeMap::new();
    skip_character(rest, '{');
    while !skip_character(rest, '}') {
        let name = text(rest)?;
        skip_character(rest, ':');
        if members.insert(name, value(rest, depth)?).is_some() {
            return None;
        }
        skip_character(rest, ',');
    }
    Some(members)
}

/// Skips the next character if it is `character`. Returns `true` if it was skipped.
fn skip_character(rest: &mut &str, character: char) -> bool {
    *rest = rest.trim_start();
    let after = rest.strip_prefix(character);
    *rest = after.unwrap_or(rest).trim_start();
    after.is_some()
}

/// Reads a string, and decodes it with `serde_json`.
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

fn with_length(tag: u8, text: &str) -> Vec<u8> {
    let length = match text.len() {
        length @ 0..255 => vec![length.to_be_bytes()[size_of::<usize>() - 1]],
        length => [&[255], &(length as u64).to_be_bytes()[..]].concat(),
    };
    [&[tag], &length[..], text.as_bytes()].concat()
}

fn decode_value(rest: &mut &[u8]) -> Option<Value> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    let mut values = Vec::new();
    let mut members = BTreeMap::new();
    match first {
        b's' => return take_sized(rest).map(Value::Text),
        b'n' => return take_sized(rest).map(Value::Lexeme),
        b'[' => {
            while !rest.starts_with(b"]") {
                values.push(decode_value(rest)?);
            }
        }
        b'{' => {
            while !rest.starts_with(b"}") {
                let Value::Text(name) = decode_value(rest)? else {
                    return None;
                };
                members.insert(name, decode_value(rest)?);
            }
        }
        letter => {
            let (literal, _) = LITERALS.iter().find(|(_, byte)| byte == letter)?;
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

/// Reads a length, and then a text of this length.
fn take_sized(rest: &mut &[u8]) -> Option<String> {
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
