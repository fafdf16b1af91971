use axum::extract::{FromRequestParts, Request};
use futures_util::FutureExt;
use serde::Deserialize;

use super::cursor::Key;
use super::id::Payment;
use crate::extract::query;
use crate::id::Id;
use crate::policies::paginate::PageRequest;
use crate::problem::{Location, Problem};

#[derive(Debug, Deserialize)]
struct Filter {
    #[serde(default)]
    tag: Vec<String>,
    name: Option<String>,
    year: Option<u16>,
    id: Option<Id<Payment>>,
}

/// Checks the parser of query strings. It must return the same values as the reference parser, or
/// reject the query string with a 400 that names a parameter. The parser of page requests is
/// checked with the same text.
pub fn query_string(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if String::from_utf8(decode(text)).is_err() {
        return check_invalid_utf8(text);
    }
    let pairs = pairs(text);
    match query::parse::<Filter>(text) {
        Ok(filter) => assert_filter(&filter, &pairs),
        Err(problem) => assert_rejected(&problem, &["tag", "name", "year", "id", ""]),
    }
    check_page_request(text);
}

/// Checks that a query string with invalid UTF-8 is rejected. It must not be replaced with another
/// text.
fn check_invalid_utf8(text: &str) {
    let names: Vec<String> = pairs(text).into_iter().map(|(name, _)| name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_rejected(
        &query::parse::<Filter>(text).expect_err("invalid UTF-8"),
        &names,
    );
    check_page_request(text);
}

fn assert_filter(filter: &Filter, pairs: &[(String, String)]) {
    let values = |wanted: &str| -> Vec<&str> {
        pairs
            .iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
            .collect()
    };
    assert_eq!(filter.tag, values("tag"));
    let assert_single = |read: Option<String>, name: &str| match read {
        Some(read) => assert_eq!([read.as_str()], values(name)[..], "{name}"),
        None => assert!(values(name).iter().all(|value| value.is_empty()), "{name}"),
    };
    assert_single(filter.name.clone(), "name");
    if let Some(year) = filter.year {
        assert_eq!(values("year")[0].parse(), Ok(year));
    }
    if let Some(id) = filter.id {
        assert_eq!(values("id")[0].parse(), Ok(id));
    }
}

fn assert_rejected(problem: &Problem, names: &[&str]) {
    assert_eq!(
        (problem.status().as_u16(), problem.code()),
        (400, "INVALID_PARAMETER")
    );
    let [error] = problem.errors() else {
        panic!("{problem:?}")
    };
    let Location::Parameter(name) = &error.location else {
        panic!("{problem:?}")
    };
    assert!(names.contains(&&**name), "{name}");
}

/// Checks the parser of page requests. It accepts no cursor, because a random text has no valid
/// signature.
fn check_page_request(text: &str) {
    let Ok(request) = Request::builder().uri(format!("/list?{text}")).body(()) else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    let read = PageRequest::<Key>::from_request_parts(&mut parts, &()).now_or_never();
    match read.expect("nothing to wait for") {
        Ok(page) => assert!((1..=100).contains(&page.limit()) && page.after().is_none()),
        Err(problem) if problem.code() == "INVALID_CURSOR" => assert_eq!(problem.status(), 400),
        Err(problem) if problem.errors()[0].code == "NOT_UTF8" => assert_eq!(problem.status(), 400),
        Err(problem) => assert_rejected(&problem, &["limit", "cursor"]),
    }
}

/// Parses `application/x-www-form-urlencoded`. This is the reference parser.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (lossy(name), lossy(value))
    };
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

fn lossy(text: &str) -> String {
    String::from_utf8_lossy(&decode(text)).into_owned()
}

fn decode(text: &str) -> Vec<u8> {
    let (bytes, mut index, mut decoded) = (text.as_bytes(), 0, Vec::new());
    while index < bytes.len() {
        let digit = |offset: usize| {
            bytes
                .get(index + offset)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        let (byte, length) = match (bytes[index], digit(1), digit(2)) {
            (b'+', _, _) => (b' ', 1),
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).unwrap_or_default(), 3),
            (byte, _, _) => (byte, 1),
        };
        decoded.push(byte);
        index += length;
    }
    decoded
}
