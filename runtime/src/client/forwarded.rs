//! An element of `Forwarded` (RFC 7239 §4). It is read as generously as proxies write it: white space
//! around pairs, and colons and brackets outside of quoted strings.

use std::net::IpAddr;

use super::node;

/// The address behind `for=`; `None` where there is none, or two, or anything is not read.
pub(super) fn hop(element: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = trimmed(element);
    while !rest.is_empty() {
        let (pair, after) = pair(rest)?;
        rest = trimmed(after);
        if let Some((name, value)) = pair
            && name.eq_ignore_ascii_case("for")
            && found.replace(node::address(&value)?).is_some()
        {
            return None;
        }
    }
    found
}

/// A name and its value.
type Pair<'a> = (&'a str, String);

/// The first pair, unless it is empty, and what follows its semicolon.
fn pair(text: &str) -> Option<(Option<Pair<'_>>, &str)> {
    if let Some(after) = text.strip_prefix(';') {
        return Some((None, after));
    }
    let (name, behind) = text.split_once('=').filter(|(name, _)| is_token(name))?;
    let (value, behind) = match behind.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => bare(behind)?,
    };
    let behind = trimmed(behind);
    let after = if behind.is_empty() {
        behind
    } else {
        behind.strip_prefix(';')?
    };
    Some((Some((name, value)), after))
}

fn bare(text: &str) -> Option<(String, &str)> {
    let (value, behind) = text.split_at(text.find([';', ' ', '\t']).unwrap_or(text.len()));
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    (!value.is_empty() && value.bytes().all(plain)).then(|| (value.to_owned(), behind))
}

/// The value of a quoted string without its first quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

fn is_token(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
