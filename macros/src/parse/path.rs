//! Path templates, such as `/orders/{id}`.

use crate::bounds::MAX_PARAMETERS;
use crate::suggest;

/// A valid path template, such as `/orders/{id}`.
#[derive(Debug)]
pub(crate) struct PathTemplate {
    text: String,
    parameters: Vec<String>,
}

impl PathTemplate {
    /// Parses a template, or returns an error message with a correction.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(missing_slash(text));
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
                "{message}, and read the query with a `Query` argument"
            ));
        }
        if text.contains('#') {
            return Err(repair(
                "a path has no fragment, since clients do not send it",
                text,
            ));
        }
        let mut parameters: Vec<String> = Vec::new();
        for segment in rest.split('/') {
            if let Some(name) = segment_parameter(segment, text)? {
                if parameters.contains(&name) {
                    return Err(format!(
                        "the path has two parameters named `{name}`: rename one"
                    ));
                }
                parameters.push(name);
            }
        }
        if split_version(rest).1.is_some() {
            return Err(repair("a path has no version", text));
        }
        check_parameter_count(&parameters)?;
        Ok(Self {
            text: text.to_owned(),
            parameters,
        })
    }

    /// Returns the template as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of the parameters, in order.
    pub(crate) fn parameters(&self) -> &[String] {
        &self.parameters
    }
}

fn missing_slash(text: &str) -> String {
    if text.contains("://") {
        repair("a path has no scheme and no host", text)
    } else {
        repair("a path starts with a slash", text)
    }
}

/// Returns a message with the broken rule and the repaired path. If the repaired path breaks
/// another rule, the message is about that rule. The parser therefore accepts every path that a
/// message suggests.
fn repair(rule: &str, text: &str) -> String {
    let path = text.split_once("://").map_or(text, |(_, rest)| {
        rest.find('/').map_or("/", |start| &rest[start..])
    });
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments: Vec<String> = segments.map(repaired_segment).collect();
    let path = segments.join("/");
    let (path, version) = split_version(&path);
    let path = format!("/{path}");
    match (PathTemplate::parse(&path), version) {
        (Err(other), _) => other,
        (Ok(_), None) => format!("{rule}: write \"{path}\""),
        (Ok(_), Some(version)) => {
            format!(
                "{rule}: write \"{path}\" and `version = {}`",
                version.max(1)
            )
        }
    }
}

/// Splits a version such as `v1` from the start of a path. The path is given without its first
/// slash.
fn split_version(path: &str) -> (&str, Option<u32>) {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first.strip_prefix('v').map(str::parse) {
        Some(Ok(version)) => (rest, Some(version)),
        _ => (path, None),
    }
}

/// Returns a segment with its parameter in braces.
fn repaired_segment(segment: &str) -> String {
    let between = |open, close| segment.strip_prefix(open)?.strip_suffix(close);
    let typed = between("{", "}").and_then(|inner| inner.split_once(':'));
    let name = segment
        .strip_prefix(':')
        .or_else(|| between("<", ">"))
        .or(typed.map(|(name, _)| name.trim()));
    name.map_or_else(|| segment.to_owned(), |name| format!("{{{name}}}"))
}

/// Returns the name of the parameter in a segment, or `None` for a literal segment.
fn segment_parameter(segment: &str, path: &str) -> Result<Option<String>, String> {
    if segment.is_empty() {
        return Err(empty_segment(path));
    }
    if let Some(name) = segment.strip_prefix(':') {
        return Err(format!(
            "a path parameter has braces: write {{{name}}} instead of :{name}"
        ));
    }
    if let Some(name) = segment
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
    {
        return Err(format!(
            "a path parameter has braces: write {{{name}}} instead of <{name}>"
        ));
    }
    if segment.starts_with('*') || segment.starts_with("{*") {
        return Err(format!(
            "`{segment}` would match every path below it: declare each path, or set a fallback on the router"
        ));
    }
    if !segment.contains(['{', '}']) {
        return check_literal(segment).map(|()| None);
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

fn check_literal(segment: &str) -> Result<(), String> {
    if segment == "." || segment == ".." {
        return Err(format!(
            "clients resolve `{segment}` before they send a path: remove it"
        ));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&byte);
    if segment.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "`{segment}` is not a path segment: write ASCII letters, digits and -._~!$&'()+,;=:@"
    ))
}

fn parameter_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("a path parameter needs a name: write {id} instead of {}".to_owned());
    }
    if let Some((name, ty)) = name.split_once(':') {
        let (name, ty) = (name.trim(), ty.trim());
        return Err(format!(
            "a path parameter has no type: write {{{name}}}, and the type in the argument, `Path<{ty}>`"
        ));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.bytes().all(is_allowed) || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!(
            "`{name}` is not a parameter name: write ASCII letters, digits and _, not starting with a digit, \
             such as {{order_id}}"
        ));
    }
    Ok(name.to_owned())
}

fn broken_braces(segment: &str) -> String {
    let (open, close) = (segment.matches('{').count(), segment.matches('}').count());
    if let (1, 1, Some((_, rest))) = (open, close, segment.split_once('{'))
        && let Some((name, _)) = rest.split_once('}')
    {
        return format!(
            "a path parameter is a whole segment: write {{{name}}} instead of {segment}, and split the value in \
             the handler"
        );
    }
    if open > close {
        return format!("`{segment}` has no closing brace: write a path parameter as {{id}}");
    }
    if close > open {
        return format!("`{segment}` has no opening brace: write a path parameter as {{id}}");
    }
    format!("a segment has at most one parameter: write `{segment}` as several segments")
}

fn check_parameter_count(parameters: &[String]) -> Result<(), String> {
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
    fn valid_path_templates_are_parsed() {
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
    fn more_parameters_than_the_router_accepts_are_an_error() {
        let names: Vec<String> = (0..=MAX_PARAMETERS)
            .map(|number| format!("{{p{number}}}"))
            .collect();
        let path = |count: usize| format!("/{}", names[..count].join("/"));
        assert!(PathTemplate::parse(&path(MAX_PARAMETERS)).is_ok());
        let error = PathTemplate::parse(&path(MAX_PARAMETERS + 1)).expect_err("one too many");
        assert_eq!(error, "a path has at most 25 parameters: remove `p25`");
    }

    #[test]
    fn the_error_of_an_invalid_template_suggests_a_correction() {
        for (path, message) in [
            ("orders", "write \"/orders\""),
            ("o/{id}/", "starts with a slash: write \"/o/{id}\""),
            ("orders/:id", "write \"/orders/{id}\""),
            ("v1/orders/", "write \"/orders\" and `version = 1`"),
            ("/a/?b=1", "has no query: write \"/a\", and read"),
            ("/a//{id: u64}", "empty segment: write \"/a/{id}\""),
            ("", "write \"/\""),
            ("/orders/", "write \"/orders\""),
            ("//orders", "empty segment: write \"/orders\""),
            ("/a/:id", "write {id} instead of :id"),
            ("/a/{id", "has no closing brace"),
            ("/a/id}", "has no opening brace"),
            ("/a/{}", "needs a name"),
            ("/a/{id}/b/{id}", "two parameters named `id`"),
            ("/files/{*rest}", "would match every path below it"),
            ("/files/*rest", "would match every path below it"),
            ("/a/{id}.json", "write {id} instead of {id}.json"),
            ("/a/x-{id}", "write {id} instead of x-{id}"),
            ("/a/{id}-{b}", "at most one parameter"),
            ("/a?b=1", "has no query: write \"/a\""),
            (
                "/a#b",
                "has no fragment, since clients do not send it: write \"/a\"",
            ),
            ("https://a.example/b", "no scheme and no host: write \"/b\""),
            ("https://a.example", "no scheme and no host: write \"/\""),
            ("/a/<id>", "write {id} instead of <id>"),
            (
                "/a/{id: u64}",
                "write {id}, and the type in the argument, `Path<u64>`",
            ),
            ("/v1/orders", "write \"/orders\" and `version = 1`"),
            ("/v2", "write \"/\" and `version = 2`"),
            (
                "orders/{id}/",
                "starts with a slash: write \"/orders/{id}\"",
            ),
            (
                "v1/orders/",
                "starts with a slash: write \"/orders\" and `version = 1`",
            ),
            (
                "/v1/orders/?a=b",
                "has no query: write \"/orders\" and `version = 1`",
            ),
            ("/v0/orders", "write \"/orders\" and `version = 1`"),
            ("/a b", "is not a path segment"),
            ("/ä", "is not a path segment"),
            ("/a/..", "clients resolve"),
            ("/a/{1}", "is not a parameter name"),
            ("/a/{a-b}", "is not a parameter name"),
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
