//! Path templates.

use crate::bounds::MAX_PARAMETERS;
use crate::suggest;

/// A valid path template, such as `/orders/{id}`.
#[derive(Debug)]
pub(crate) struct PathTemplate {
    text: String,
    parameters: Vec<String>,
}

impl PathTemplate {
    /// Reads a template, or says what is wrong with it and what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(no_slash(text));
        };
        if rest.is_empty() {
            return Ok(Self {
                text: text.to_owned(),
                parameters: Vec::new(),
            });
        }
        if text.contains('?') {
            let message = repair("a path has no query", text);
            return Err(format!(
                "{message} and read the query with a `Query` argument"
            ));
        }
        if text.contains('#') {
            return Err(repair("clients keep what follows `#` to themselves", text));
        }
        let mut parameters: Vec<String> = Vec::new();
        for segment in rest.split('/') {
            if let Some(name) = segment_parameter(segment, text)? {
                if parameters.contains(&name) {
                    return Err(format!(
                        "the path names the parameter `{name}` twice: give each its own name"
                    ));
                }
                parameters.push(name);
            }
        }
        version(rest)?;
        many(&parameters)?;
        Ok(Self {
            text: text.to_owned(),
            parameters,
        })
    }

    /// As written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the parameters, in order.
    pub(crate) fn parameters(&self) -> &[String] {
        &self.parameters
    }
}

fn no_slash(text: &str) -> String {
    if text.contains("://") {
        repair("a path stands without scheme and host", text)
    } else {
        repair("a path begins with a slash", text)
    }
}

/// The broken rule and the repaired path. If the path breaks a rule whose repair is not obvious, that
/// rule is reported instead: a suggested path is never refused.
fn repair(rule: &str, text: &str) -> String {
    let path = text.split_once("://").map_or(text, |(_, rest)| {
        rest.find('/').map_or("/", |start| &rest[start..])
    });
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments: Vec<String> = segments.map(repaired_segment).collect();
    let path = format!("/{}", segments.join("/"));
    match PathTemplate::parse(&path) {
        Ok(_) => format!("{rule}: write \"{path}\""),
        Err(other) => other,
    }
}

/// A segment with its parameter in braces.
fn repaired_segment(segment: &str) -> String {
    let between = |open, close| segment.strip_prefix(open)?.strip_suffix(close);
    let typed = between("{", "}").and_then(|inner| inner.split_once(':'));
    let name = segment
        .strip_prefix(':')
        .or_else(|| between("<", ">"))
        .or(typed.map(|(name, _)| name.trim()));
    name.map_or_else(|| segment.to_owned(), |name| format!("{{{name}}}"))
}

/// The parameter that a segment is, if it is one.
fn segment_parameter(segment: &str, path: &str) -> Result<Option<String>, String> {
    if segment.is_empty() {
        return Err(empty_segment(path));
    }
    if let Some(name) = segment.strip_prefix(':') {
        return Err(format!(
            "a parameter stands in braces: write {{{name}}} instead of :{name}"
        ));
    }
    if let Some(name) = segment
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
    {
        return Err(format!(
            "a parameter stands in braces: write {{{name}}} instead of <{name}>"
        ));
    }
    if segment.starts_with('*') || segment.starts_with("{*") {
        return Err(format!(
            "`{segment}` would answer every path below it: declare each path; a fallback is set on the router"
        ));
    }
    if !segment.contains(['{', '}']) {
        return literal(segment).map(|()| None);
    }
    let inner = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match inner {
        Some(name) if !name.contains(['{', '}']) => parameter_name(name).map(Some),
        _ => Err(broken_braces(segment)),
    }
}

fn empty_segment(path: &str) -> String {
    if path.ends_with('/') && !path.contains("//") {
        repair("a path does not end with a slash", path)
    } else {
        repair("the path has an empty segment", path)
    }
}

fn literal(segment: &str) -> Result<(), String> {
    if segment == "." || segment == ".." {
        return Err(format!(
            "clients remove `{segment}` from a path before they send it: leave it out"
        ));
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(byte);
    match segment.bytes().find(|byte| !plain(byte)) {
        None => Ok(()),
        Some(_) => Err(format!(
            "`{segment}` cannot stand in a path: ASCII letters, digits and any of -._~!$&'()+,;=:@ can"
        )),
    }
}

fn parameter_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("a parameter needs a name: write {id} instead of {}".to_owned());
    }
    if let Some((name, ty)) = name.split_once(':') {
        let (name, ty) = (name.trim(), ty.trim());
        return Err(format!(
            "a parameter is a name alone: write {{{name}}}, and its type in the argument, `Path<{ty}>`"
        ));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.bytes().all(plain) || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!(
            "`{name}` is no name for a parameter: letters, digits and _ are, such as {{order_id}}"
        ));
    }
    Ok(name.to_owned())
}

fn broken_braces(segment: &str) -> String {
    let (open, close) = (segment.matches('{').count(), segment.matches('}').count());
    if open == 1 && close == 1 && segment.find('{') < segment.find('}') {
        return format!(
            "a parameter is a whole segment: `{segment}` has something around it; \
             take the segment as one parameter and split it in the handler"
        );
    }
    if open > close {
        return format!("the brace in `{segment}` is never closed: write a parameter as {{id}}");
    }
    if close > open {
        return format!("the brace in `{segment}` was never opened: write a parameter as {{id}}");
    }
    format!("a segment has at most one parameter: write `{segment}` as several segments")
}

fn version(rest: &str) -> Result<(), String> {
    let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
    match first.strip_prefix('v').map(str::parse::<u32>) {
        Some(Ok(number)) => Err(format!(
            "the version is not part of the path: write \"/{tail}\" and `version = {number}`"
        )),
        _ => Ok(()),
    }
}

fn many(parameters: &[String]) -> Result<(), String> {
    if parameters.len() <= MAX_PARAMETERS {
        return Ok(());
    }
    let names = suggest::list(parameters.iter().skip(MAX_PARAMETERS).map(String::as_str));
    Err(format!(
        "a path has at most {MAX_PARAMETERS} parameters: remove {names}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read() {
        let template = PathTemplate::parse("/orders/{order_id}/items/{item}").expect("valid");
        assert_eq!(template.parameters(), ["order_id", "item"]);
        for path in [
            "/",
            "/a",
            "/a.json",
            "/users/@me",
            "/vat",
            "/v",
            "/a/v1",
            "/{a}",
        ] {
            assert!(PathTemplate::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn more_parameters_than_the_router_takes_are_refused() {
        let names: Vec<String> = (0..=MAX_PARAMETERS)
            .map(|number| format!("{{p{number}}}"))
            .collect();
        let path = |count: usize| format!("/{}", names[..count].join("/"));
        assert!(PathTemplate::parse(&path(MAX_PARAMETERS)).is_ok());
        let error = PathTemplate::parse(&path(MAX_PARAMETERS + 1)).expect_err("one too many");
        assert_eq!(error, "a path has at most 25 parameters: remove `p25`");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (path, message) in [
            ("orders", "write \"/orders\""),
            ("o/{id}/", "begins with a slash: write \"/o/{id}\""),
            ("orders/:id", "write \"/orders/{id}\""),
            ("v1/orders/", "write \"/orders\" and `version = 1`"),
            ("/a/?b=1", "has no query: write \"/a\" and read"),
            ("/a//{id: u64}", "empty segment: write \"/a/{id}\""),
            ("", "write \"/\""),
            ("/orders/", "write \"/orders\""),
            ("//orders", "empty segment: write \"/orders\""),
            ("/a/:id", "write {id} instead of :id"),
            ("/a/{id", "never closed"),
            ("/a/id}", "never opened"),
            ("/a/{}", "needs a name"),
            ("/a/{id}/b/{id}", "`id` twice"),
            ("/files/{*rest}", "would answer every path below it"),
            ("/files/*rest", "would answer every path below it"),
            ("/a/{id}.json", "whole segment"),
            ("/a/x-{id}", "whole segment"),
            ("/a/{id}-{b}", "at most one parameter"),
            ("/a?b=1", "has no query: write \"/a\""),
            ("/a#b", "to themselves: write \"/a\""),
            (
                "https://a.example/b",
                "without scheme and host: write \"/b\"",
            ),
            ("https://a.example", "without scheme and host: write \"/\""),
            ("/a/<id>", "write {id} instead of <id>"),
            (
                "/a/{id: u64}",
                "write {id}, and its type in the argument, `Path<u64>`",
            ),
            ("/v1/orders", "write \"/orders\" and `version = 1`"),
            ("/v2", "write \"/\" and `version = 2`"),
            ("/a b", "cannot stand in a path"),
            ("/ä", "cannot stand in a path"),
            ("/a/..", "clients remove"),
            ("/a/{1}", "is no name"),
            ("/a/{a-b}", "is no name"),
        ] {
            let error = PathTemplate::parse(path).expect_err(path);
            assert!(error.contains(message), "{path}: {error}");
            if let Some((_, suggested)) = error.split_once("write \"") {
                let (suggested, _) = suggested.split_once('"').expect("a quoted path");
                assert!(PathTemplate::parse(suggested).is_ok(), "{path}: {error}");
            }
        }
    }
}
