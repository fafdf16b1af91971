//! Checks of the arguments and the result of an endpoint, at its declaration.
//!
//! An argument that is an extractor for no state is an error at the argument. If it depends on the
//! state, it is checked in `routes!`, where the state is known.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::IntoResponse;

use super::Probe;
use super::message::Message;
use super::type_text::TypeText;
use crate::policies::paginate::PageRequest;

/// The outcome of an endpoint's checks, as a type.
#[derive(Debug)]
pub struct Checks<const PASSED: bool>;

/// The type `T`, if the checks passed.
///
/// A failed check is an error at its argument. The compiler then does not know the types that depend
/// on it, and it reports no error about an unknown type.
pub trait IfPassed<T> {
    /// The type `T`.
    type Type;
}

impl<T> IfPassed<T> for Checks<true> {
    type Type = T;
}

/// The bound of an extractor on its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The type is not a known extractor.
    Unknown,
    /// The content is the request, which has no bound.
    Request,
    /// `serde::Deserialize`.
    Deserialize,
    /// `serde::Deserialize` and `garde::Validate`.
    Validate,
    /// The content of `Valid` is not an extractor that it can check.
    NotAnExtractor,
    /// The type needs the feature `garde`, which is off.
    NeedsGarde,
    /// `CursorKey`.
    CursorKey,
}

impl Content {
    /// Returns the bound that the content of a `Valid` does not meet.
    #[must_use]
    pub const fn of_valid(self, is_valid: bool, is_validated: bool) -> Self {
        match self {
            Self::Unknown if is_valid => Self::NotAnExtractor,
            _ if is_validated => Self::Unknown,
            _ => self,
        }
    }
}

macro_rules! facts {
    ($([$($generics:tt)*] $type:ty { $name:ident: $fact:ty = $value:expr })*) => {$(
        impl<$($generics)*> Probe<$type> {
            #[allow(missing_docs, reason = "documented at the fallback")]
            pub const $name: $fact = $value;
        }
    )*};
}

// The first two lines use the state `()`. An extractor that is generic over the state implements the
// traits for `()` as well.
facts! {
    [T: FromRequestParts<()>] T { FROM_HEAD: bool = true }
    [T: FromRequest<()>] T { FROM_BODY: bool = true }
    [] Request { CONTENT: Content = Content::Request }
    [T] axum::extract::Path<T> { CONTENT: Content = Content::Deserialize }
    [T] axum::extract::Query<T> { CONTENT: Content = Content::Deserialize }
    [T] axum::Json<T> { CONTENT: Content = Content::Deserialize }
    [T] crate::extract::Path<T> { CONTENT: Content = Content::Deserialize }
    [T] crate::extract::Query<T> { CONTENT: Content = Content::Deserialize }
    [T] crate::extract::Json<T> { CONTENT: Content = Content::Deserialize }
    [K] PageRequest<K> { CONTENT: Content = Content::CursorKey }
    [T: IntoResponse] T { IS_RESPONSE: bool = true }
    [T: IntoResponse, E] Result<T, E> { IS_RESPONSE_OR_ERROR: bool = true }
}

#[cfg(feature = "garde")]
mod validated {
    use garde::Validate;
    use serde::de::DeserializeOwned;

    use super::{Content, Probe};
    use crate::extract::{Json, Path, Query, Valid};

    facts! {
        [E] Valid<E> { IS_VALID: bool = true }
        [T] Valid<Path<T>> { VALID_CONTENT: Content = Content::Validate }
        [T] Valid<Query<T>> { VALID_CONTENT: Content = Content::Validate }
        [T] Valid<Json<T>> { VALID_CONTENT: Content = Content::Validate }
        [T: DeserializeOwned + Validate] Valid<Path<T>> { IS_VALIDATED: bool = true }
        [T: DeserializeOwned + Validate] Valid<Query<T>> { IS_VALIDATED: bool = true }
        [T: DeserializeOwned + Validate] Valid<Json<T>> { IS_VALIDATED: bool = true }
    }
}

#[cfg(not(feature = "garde"))]
facts! {
    [E] crate::extract::Valid<E> { VALID_CONTENT: Content = Content::NeedsGarde }
}

/// Fails the compilation if no state makes an argument before the last an extractor of the head.
#[track_caller]
pub const fn assert_head_argument(from_head: bool, from_body: bool, content: Content, name: &str) {
    if from_head {
        return;
    }
    if from_body {
        fail(&quoted(TypeText(name)).text(
            " reads the body, which only the last argument can: \
             move it to the end, or remove it if another argument reads the body",
        ));
    }
    assert_content(content, TypeText(name));
}

/// Fails the compilation if no state makes the last argument an extractor.
#[track_caller]
pub const fn assert_last_argument(from_head: bool, from_body: bool, content: Content, name: &str) {
    if !from_head && !from_body {
        assert_content(content, TypeText(name));
    }
}

/// Fails the compilation if no state makes the last argument of a GET an extractor of the head. The
/// request as a whole is accepted: its body does not have to be read.
#[track_caller]
pub const fn assert_get_argument(from_head: bool, from_body: bool, content: Content, name: &str) {
    if from_head || matches!(content, Content::Request) {
        return;
    }
    if from_body {
        fail(&quoted(TypeText(name)).text(
            " reads a body, which a GET request does not have: \
             read the query with `Query<T>`, or declare `post`, `put` or `patch`",
        ));
    }
    assert_content(content, TypeText(name));
}

#[track_caller]
const fn assert_content(content: Content, argument: TypeText<'_>) {
    let (traits, derive) = match content {
        Content::Unknown | Content::Request => return,
        Content::NotAnExtractor => {
            let message = quoted(argument).text(" has nothing to check: write `Valid<Json<");
            let message = content_of(argument).write(message);
            fail(&message.text(">>`, or use `Query` or `Path` in place of `Json`"))
        }
        Content::NeedsGarde => fail(&quoted(argument).text(
            " needs the feature `garde` of the crate `aplomb`: run `cargo add aplomb --features garde`",
        )),
        Content::Deserialize => ("`serde::Deserialize`", "serde::Deserialize"),
        Content::Validate => (
            "`serde::Deserialize` and `garde::Validate`",
            "serde::Deserialize, garde::Validate",
        ),
        Content::CursorKey => ("`aplomb::CursorKey`", "aplomb::CursorKey"),
    };
    let mut written = argument;
    if argument.is_named("Valid") {
        written = content_of(argument);
    }
    let content = content_of(written);
    let message = quoted(content).text(" in `");
    let message = argument.write(message).text("` must implement ");
    let message = message.text(traits);
    if content.is_declared() {
        let message = message.text(": write `#[derive(").text(derive);
        fail(&message.text(")]` above it"));
    }
    let message = message.text(": use a struct with `#[derive(").text(derive);
    fail(&message.text(")]`"));
}

/// Returns the content of an extractor or a response as written. For an alias it is the alias itself.
const fn content_of(ty: TypeText<'_>) -> TypeText<'_> {
    match ty.parameter(0) {
        Some(content) => content,
        None => ty,
    }
}

/// Fails the compilation if the result is not a response.
#[track_caller]
pub const fn assert_response(is_response: bool, is_response_or_error: bool, name: &str) {
    if is_response {
        return;
    }
    let result = TypeText(name);
    let value = if result.is_named("Result") {
        content_of(result)
    } else {
        result
    };
    if is_response_or_error {
        fail(&not_an_error(result, value));
    }
    let content = content_of(value);
    if is_document(value) && is_document(content) {
        let message = quoted(value).text(" would write JSON inside of JSON: write `");
        let message = content_of(content).write(message).text("` in place of `");
        fail(&content.write(message).text("`"));
    }
    if is_document(value) {
        let message = quoted(content).text(" in `");
        fail(&value.write(message).text(
            "` must implement `serde::Serialize`: write `#[derive(serde::Serialize)]` above it",
        ));
    }
    fail(&quoted(result).text(
        " is not a response: return a type that implements `IntoResponse`, such as `Json<T>`, \
         or a `Result` of two such types",
    ));
}

/// Returns the message for a result whose error is not a response.
const fn not_an_error(result: TypeText<'_>, value: TypeText<'_>) -> Message {
    let message = match result.parameter(1) {
        Some(error) => quoted(error),
        None => Message::new()
            .text("the error of ")
            .text(quoted(result).as_str()),
    };
    let message = message.text(
        " is not a response: write `#[derive(aplomb::ApiError)]` above it, or return `aplomb::Result<",
    );
    value.write(message).text(">`")
}

/// Returns true if the type, as it is written, writes its content as JSON.
const fn is_document(ty: TypeText<'_>) -> bool {
    ty.is_named("Json") || ty.is_named("Created") || ty.is_named("Page")
}

const fn quoted(ty: TypeText<'_>) -> Message {
    ty.write(Message::new().text("`")).text("`")
}

#[track_caller]
const fn fail(message: &Message) -> ! {
    panic!("{}", message.as_str())
}
