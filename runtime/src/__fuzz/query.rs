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

/// A query string is read as a naive reading has it, or refused with a 400 that names a parameter; so it is
/// where a page is asked for.
pub fn query_string(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if String::from_utf8(decoded(text)).is_err() {
        return not_utf8(text);
    }
    let pairs = pairs(text);
    match query::parse::<Filter>(text) {
        Ok(filter) => assert_read(&filter, &pairs),
        Err(problem) => assert_refused(&problem, &["tag", "name", "year", "id", ""]),
    }
    page(text);
}

/// What no text is, nobody reads in silence as another one. A cursor that is none is no cursor.
fn not_utf8(text: &str) {
    let names: Vec<String> = pairs(text).into_iter().map(|(name, _)| name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_refused(&query::parse::<Filter>(text).expect_err("no text"), &names);
    page(text);
}

fn assert_read(filter: &Filter, pairs: &[(String, String)]) {
    let values = |wanted: &str| -> Vec<&str> {
        pairs
            .iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
            .collect()
    };
    assert_eq!(filter.tag, values("tag"));
    let single = |read: Option<String>, wanted: &str| match read {
        Some(read) => assert_eq!([read.as_str()], values(wanted)[..], "{wanted}"),
        None => assert!(
            values(wanted).iter().all(|value| value.is_empty()),
            "{wanted}"
        ),
    };
    single(filter.name.clone(), "name");
    if let Some(year) = filter.year {
        assert_eq!(values("year")[0].parse(), Ok(year));
    }
    if let Some(id) = filter.id {
        assert_eq!(values("id")[0].parse(), Ok(id));
    }
}

fn assert_refused(problem: &Problem, names: &[&str]) {
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

/// What a head takes for a query, and no cursor that is signed, since nobody can guess one.
fn page(text: &str) {
    let Ok(request) = Request::builder().uri(format!("/list?{text}")).body(()) else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    let read = PageRequest::<Key>::from_request_parts(&mut parts, &()).now_or_never();
    match read.expect("nothing to wait for") {
        Ok(page) => assert!((1..=100).contains(&page.limit()) && page.after().is_none()),
        Err(problem) if problem.code() == "INVALID_CURSOR" => assert_eq!(problem.status(), 400),
        Err(problem) if problem.errors()[0].code == "NOT_UTF8" => assert_eq!(problem.status(), 400),
        Err(problem) => assert_refused(&problem, &["limit", "cursor"]),
    }
}

/// `application/x-www-form-urlencoded`, read letter by letter.
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
    String::from_utf8_lossy(&decoded(text)).into_owned()
}

fn decoded(text: &str) -> Vec<u8> {
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
