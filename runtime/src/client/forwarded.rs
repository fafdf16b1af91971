//! Parses an element of `Forwarded` (RFC 7239 §4). It also accepts what proxies write in practice:
//! white space around pairs, and colons and brackets outside of quoted strings.

use std::net::IpAddr;

use super::node;

/// Returns the address in `for=`; `None` if the element does not have exactly one `for=`, or if any
/// part is invalid.
pub(super) fn client_of(element: &str) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = trim_blanks(element);
    while !rest.is_empty() {
        let (pair, after) = split_pair(rest)?;
        rest = trim_blanks(after);
        if let Some((name, value)) = pair
            && name.eq_ignore_ascii_case("for")
            && found.replace(node::address(&value)?).is_some()
        {
            return None;
        }
    }
    found
}

/// A parameter's name and value.
type Pair<'a> = (&'a str, String);

/// Splits off the first pair, which may be empty. Returns the pair and the text after its
/// semicolon.
fn split_pair(text: &str) -> Option<(Option<Pair<'_>>, &str)> {
    if let Some(after) = text.strip_prefix(';') {
        return Some((None, after));
    }
    let (name, rest) = text.split_once('=').filter(|(name, _)| is_token(name))?;
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted_value(quoted)?,
        None => unquoted_value(rest)?,
    };
    let rest = trim_blanks(rest);
    let after = if rest.is_empty() {
        rest
    } else {
        rest.strip_prefix(';')?
    };
    Some((Some((name, value)), after))
}

fn unquoted_value(text: &str) -> Option<(String, &str)> {
    let (value, rest) = text.split_at(text.find([';', ' ', '\t']).unwrap_or(text.len()));
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    (!value.is_empty() && value.bytes().all(plain)).then(|| (value.to_owned(), rest))
}

/// Parses a quoted string without its opening quote. Returns the value and the text after it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
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

fn trim_blanks(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
