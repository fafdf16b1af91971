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
            return Err(format!(
                "a path has no query: write {}, and read the query with a `Query` argument",
                corrected(text)
            ));
        }
        if text.contains('#') {
            return Err(format!(
                "a path has no fragment, since clients do not send it: write {}",
                corrected(text)
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
            return Err(format!("a path has no version: write {}", corrected(text)));
        }
        check_parameter_count(&parameters)?;
        Ok(Self {
            text: text.to_owned(),
            parameters,
        })
    }

    /// The template as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the parameters, in order.
    pub(crate) fn parameters(&self) -> &[String] {
        &self.parameters
    }
}

fn missing_slash(text: &str) -> String {
    match text.split_once("://") {
        Some((_, rest)) => {
            let path = rest.find('/').map_or("/", |start| &rest[start..]);
            format!(
                "a path has no scheme and no host: write {}",
                corrected(path)
            )
        }
        None => format!("a path starts with a slash: write {}", corrected(text)),
    }
}

/// The path in quotes, without query, fragment, empty segments and version, so that the parser
/// accepts the slashes of what a message suggests. A version becomes an argument of its own.
fn corrected(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let segments = text[..end].split('/').filter(|segment| !segment.is_empty());
    let path = segments.collect::<Vec<_>>().join("/");
    match split_version(&path) {
        (path, Some(version)) => format!("\"/{path}\" and `version = {}`", version.max(1)),
        (path, None) => format!("\"/{path}\""),
    }
}

/// Splits a version such as `v1` from the start of a path without its first slash.
fn split_version(path: &str) -> (&str, Option<u32>) {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first.strip_prefix('v').map(str::parse) {
        Some(Ok(version)) => (rest, Some(version)),
        _ => (path, None),
    }
}

/// The name of the parameter in a segment, or `None` for a literal segment.
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
    let corrected = corrected(path);
    if path.ends_with('/') && !path.contains("//") {
        format!("a path does not end with a slash: write {corrected}")
    } else {
        format!("the path has an empty segment: write {corrected}")
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
    fn valid_templates_parse() {
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
    fn an_invalid_template_gives_a_correction() {
        for (path, message) in [
            ("orders", "write \"/orders\""),
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
        }
    }
}
