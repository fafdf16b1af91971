use core::cell::Cell;

use axum::RequestExt;
use axum::body::Body;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::pointer::Pointer;
use super::transparent;
use crate::problem::{FieldError, Problem, registry};
use crate::request::read;

/// A JSON body: an extractor for requests, and a response.
///
/// As an extractor, it rejects media types other than JSON with a 415. Invalid JSON is a 400
/// `MALFORMED_JSON`, and JSON of the wrong shape is a 422 `VALIDATION_FAILED`. The `errors` of a
/// `VALIDATION_FAILED` have a JSON pointer to the first wrong member.
///
/// ```
/// use aplomb::Json;
///
/// async fn double(Json(numbers): Json<Vec<i64>>) -> Json<Vec<i64>> {
///     Json(numbers.into_iter().map(|n| 2 * n).collect())
/// }
/// # let _ = axum::Router::<()>::new().route("/double", axum::routing::post(double));
/// ```
///
/// `Option<Json<T>>` is `None` for a request without a `Content-Type` field, as in axum. If the
/// request has the field, it is rejected in the same cases as for `Json<T>`. An empty body is then
/// an error, and not `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

transparent!(Json);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    fn from_request(request: Request, _: &S) -> impl Future<Output = Result<Self, Problem>> + Send {
        // Every request allocates this future. The future is smaller without the head of the
        // request.
        let body = json_body(request);
        async move { parse(&text(body).await?).map(Self) }
    }
}

impl<S, T> OptionalFromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    fn from_request(
        request: Request,
        state: &S,
    ) -> impl Future<Output = Result<Option<Self>, Problem>> + Send {
        let has_content_type = request.headers().contains_key(CONTENT_TYPE);
        let reading =
            has_content_type.then(|| <Self as FromRequest<S>>::from_request(request, state));
        async move {
            match reading {
                Some(reading) => reading.await.map(Some),
                None => Ok(None),
            }
        }
    }
}

/// Returns the body of a request if its media type is JSON.
pub(super) fn json_body(request: Request) -> Option<Body> {
    is_json(request.headers()).then(|| request.into_limited_body())
}

/// Reads the whole body. `None` means a body of another media type, which is a 415.
pub(super) async fn text(body: Option<Body>) -> Result<Bytes, Problem> {
    let Some(body) = body else {
        return Err(Problem::new(&registry::UNSUPPORTED_MEDIA_TYPE)
            .with_detail("send the body as `Content-Type: application/json`"));
    };
    read::read(body).await
}

/// Parses a JSON text.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(text).map_err(|error| parse_problem::<T>(text, &error))
}

/// Returns whether the media type is `application/json` or has the suffix `+json` (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return true;
    }
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
    kind.eq_ignore_ascii_case("application")
        && suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
}

#[cold]
fn parse_problem<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Problem {
    // serde_json reports some wrong shapes as syntax errors, such as `{}` in place of an enum.
    // Also, serde_json reports a wrong shape that comes before a syntax error, although the syntax
    // error is the more basic mistake. So the text is parsed again, without a shape.
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return malformed_json(&error);
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(document) => wrong_shape::<T>(bytes, &document, error),
        // Large numbers and deep nesting are valid JSON, but no `Value` can store them.
        Err(too_large) if is_too_large(&too_large) => wrong_shape::<T>(bytes, &Value::Null, error),
        // Escapes of half a character are valid syntax, but not text (RFC 8259 §8.2).
        Err(error) => malformed_json(&error),
    }
}

fn is_too_large(error: &serde_json::Error) -> bool {
    let message = error.to_string();
    ["number out of range", "recursion limit exceeded"]
        .iter()
        .any(|reason| message.starts_with(reason))
}

fn malformed_json(error: &serde_json::Error) -> Problem {
    Problem::new(&registry::MALFORMED_JSON).with_detail(error.to_string())
}

/// Parses the text again and records the path to the wrong member. This costs additional time, so
/// it is not done for valid bodies.
fn wrong_shape<T: DeserializeOwned>(
    bytes: &[u8],
    document: &Value,
    error: &serde_json::Error,
) -> Problem {
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let pointer = match serde_path_to_error::deserialize::<_, T>(deserializer) {
        Ok(_) => Pointer::new(),
        Err(error) => pointer(error.path(), document),
    };
    Problem::new(&registry::VALIDATION_FAILED)
        .with_detail("the JSON body has the wrong shape: see `errors`")
        .with_error(FieldError::new(
            pointer.into(),
            "WRONG_SHAPE",
            without_position(&error.to_string()),
        ))
}

/// Returns the pointer to the wrong member. If the document does not have this member, the pointer
/// ends at the last member of the path that the document has.
fn pointer(path: &serde_path_to_error::Path, document: &Value) -> Pointer {
    let (mut pointer, mut value) = (Pointer::new(), document);
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => break,
        };
        let member = match value {
            Value::Array(items) => name.parse().ok().and_then(|index: usize| items.get(index)),
            Value::Object(members) => members.get(&name),
            _ => None,
        };
        let Some(member) = member else { break };
        pointer.push(&name);
        value = member;
    }
    pointer
}

/// Removes the position, which is a line and a column of the text, because the pointer already
/// locates the member.
fn without_position(message: &str) -> String {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message)
        .to_owned()
}

const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serialize_with(|buffer| serde_json::to_writer(buffer, &self.0)) {
            Ok(bytes) => {
                let mut response = Response::new(Body::from(bytes));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, APPLICATION_JSON);
                response
            }
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

thread_local! {
    /// The buffer in which the responses of a thread are serialized, one after another.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The maximum size in bytes of a buffer that a thread reuses. A larger buffer becomes the response
/// body itself.
const MAX_REUSED_BUFFER: usize = 64 << 10;

/// Serializes into the thread's buffer, and copies the result into an allocation of its exact
/// length. The buffer rarely grows, because it is reused. Writing to a `Vec` takes half the work of
/// axum's `BytesMut` writer. A response that is serialized during another serialization finds no
/// buffer, and allocates its own buffer.
fn serialize_with<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
    let mut buffer = BUFFER.take();
    buffer.clear();
    write(&mut buffer)?;
    if buffer.len() > MAX_REUSED_BUFFER {
        return Ok(Bytes::from(buffer));
    }
    let bytes = Bytes::copy_from_slice(&buffer);
    BUFFER.set(buffer);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;
    use crate::problem::Location;

    async fn read(media: &'static str, text: &str) -> Result<Json<Vec<Line>>, Problem> {
        let request = Request::builder()
            .header(CONTENT_TYPE, media)
            .body(Body::from(text.to_owned()));
        <Json<_> as FromRequest<()>>::from_request(request.expect("a request"), &()).await
    }

    #[derive(Debug, serde::Deserialize)]
    struct Line {
        #[serde(rename = "a/b")]
        amount: i64,
    }

    #[tokio::test]
    async fn f04_the_pointer_locates_the_wrong_member() {
        let problem = read("application/json", r#"[{"a/b": 1}, {"a/b": "x"}]"#)
            .await
            .expect_err("a string");
        assert_eq!(problem.code(), "VALIDATION_FAILED");
        assert_eq!(
            problem.errors()[0].location,
            Location::Pointer("#/1/a~1b".into())
        );
        assert_eq!(
            problem.errors()[0].detail,
            "invalid type: string \"x\", expected i64"
        );
    }

    #[tokio::test]
    async fn f04_invalid_json_is_a_400() {
        for text in ["", "[", "[}", "nul", "[1] 2", &"[".repeat(100_000)] {
            assert_eq!(
                read("application/json", text)
                    .await
                    .expect_err("not JSON")
                    .code(),
                "MALFORMED_JSON",
                "{text:.9}"
            );
        }
    }

    #[tokio::test]
    async fn f04_the_first_of_several_wrong_members_is_reported() {
        let problem = read("application/json", r#"[{"a/b": "x"}, {"a/b": []}]"#)
            .await
            .expect_err("a string");
        let places: Vec<_> = problem
            .errors()
            .iter()
            .map(|error| error.location.clone())
            .collect();
        assert_eq!(places, [Location::Pointer("#/0/a~1b".into())]);
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only parsed")]
    enum Shape {
        Circle { radius: u64 },
        Point,
    }

    #[test]
    fn f04_valid_json_of_a_wrong_shape_is_a_422_at_a_member_that_exists() {
        for (text, place) in [
            ("[{}]", "#/0"),
            ("[1]", "#/0"),
            ("[null]", "#/0"),
            (r#"[{"square": 1}]"#, "#/0"),
            (r#"["circle"]"#, "#/0"),
            (r#"["point", {"circle": {}}]"#, "#/1/circle"),
            (r#"[{"circle": {"radius": -1}}]"#, "#/0/circle/radius"),
            (r#"[{"circle": {"radius": 1}, "point": null}]"#, "#/0"),
            ("{}", "#"),
        ] {
            let problem = parse::<Vec<Shape>>(text.as_bytes()).expect_err(text);
            assert_eq!(problem.code(), "VALIDATION_FAILED", "{text}");
            let location = &problem.errors()[0].location;
            assert_eq!(location, &Location::Pointer(place.into()), "{text}");
        }
    }

    #[tokio::test]
    async fn f04_json_that_parsers_read_differently_is_rejected() {
        for (text, code) in [
            (r#"[{"a/b": 1, "a/b": 2}]"#, "VALIDATION_FAILED"),
            (
                r#"[{"a/b": 1234567890123456789012345678901234567890}]"#,
                "VALIDATION_FAILED",
            ),
            (r#"[{"a/b": 1.0}]"#, "VALIDATION_FAILED"),
            (r#"[{"a/b": 1e999}]"#, "VALIDATION_FAILED"),
            (r#"[{"a/b": 01}]"#, "MALFORMED_JSON"),
            (r#"[{"a/b": NaN}]"#, "MALFORMED_JSON"),
            (r#"[{"\ud800": 1}]"#, "MALFORMED_JSON"),
            (r#"[{"a/b": "\udc00\ud800"}]"#, "MALFORMED_JSON"),
        ] {
            let problem = read("application/json", text).await.expect_err("refused");
            assert_eq!(problem.code(), code, "{text}: {problem:?}");
        }
    }

    #[test]
    fn responses_of_one_thread_share_no_bytes() {
        let long = vec![b'a'; MAX_REUSED_BUFFER + 1];
        for body in [&b"first"[..], b"2nd", b"", &long, b"after a long one"] {
            let bytes =
                serialize_with(|buffer| buffer.write_all(body)).expect("a buffer takes all");
            assert!(bytes == body);
        }
    }

    #[test]
    fn a_failed_response_leaves_no_bytes_in_the_buffer() {
        let half = serialize_with(|buffer| {
            buffer
                .write_all(b"half")
                .and(Err(io::Error::other("no more")))
        });
        assert!(half.is_err());
        assert_eq!(
            serialize_with(|buffer| buffer.write_all(b"whole")).expect("a buffer takes all"),
            "whole"
        );
    }

    #[test]
    fn a_response_that_is_serialized_inside_another_shares_no_bytes_with_it() {
        let outer = serialize_with(|buffer| {
            buffer.write_all(b"outer ")?;
            let inner = serialize_with(|buffer| buffer.write_all(b"inner"))?;
            buffer.write_all(&inner)
        });
        assert_eq!(outer.expect("a buffer takes all"), "outer inner");
    }

    #[tokio::test]
    async fn f04_only_json_media_types_are_accepted() {
        for media in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            assert_eq!(
                read(media, r#"[{"a/b":2}]"#).await.expect("is JSON").0[0].amount,
                2,
                "{media}"
            );
        }
        for media in [
            "text/plain",
            "",
            "json",
            "text/json",
            "text/x+json",
            "application/jsonp",
        ] {
            assert_eq!(
                read(media, "[]").await.expect_err("not JSON").status(),
                415,
                "{media}"
            );
        }
    }
}
