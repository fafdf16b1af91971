//! Checks of the arguments and the result of an endpoint, at its declaration.
//!
//! An argument that is not an extractor for any state is reported at the argument. If only some
//! states can extract the argument, `routes!` checks it, because the state is known there.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::IntoResponse;

use super::Probe;
use super::message::Message;
use super::type_text::TypeText;
use crate::policies::paginate::PageRequest;

/// A type that carries the outcome of an endpoint's checks.
#[derive(Debug)]
pub struct Checks<const PASSED: bool>;

/// The type `T`, if the checks passed.
///
/// If a check fails, the compiler reports the error at the argument. The types that depend on the
/// check are then unknown to the compiler, so it reports no further errors about them.
pub trait IfPassed<T> {
    /// The type `T`.
    type Type;
}

impl<T> IfPassed<T> for Checks<true> {
    type Type = T;
}

/// The trait bound that an extractor has on its content.
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
    /// The content of `Valid` is not an extractor that `Valid` can check.
    NotAnExtractor,
    /// The type needs the feature `garde`, which is off.
    NeedsGarde,
    /// `CursorKey`.
    CursorKey,
    /// `TransactionDatabase`.
    Database,
}

impl Content {
    /// Returns the bound that the content of a `Valid` does not meet, or `Unknown` if it meets its
    /// bound.
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

// The first two lines check the traits only with the state `()`. This is enough, because an
// extractor that is generic over the state also implements the traits for `()`.
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
    [T] Option<crate::extract::Path<T>> { CONTENT: Content = Content::Deserialize }
    [T] Option<crate::extract::Query<T>> { CONTENT: Content = Content::Deserialize }
    [T] Option<crate::extract::Json<T>> { CONTENT: Content = Content::Deserialize }
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

#[cfg(any(feature = "sqlite", feature = "postgres"))]
facts! {
    [DB] crate::transaction::Tx<DB> { CONTENT: Content = Content::Database }
}

#[cfg(not(feature = "garde"))]
facts! {
    [E] crate::extract::Valid<E> { VALID_CONTENT: Content = Content::NeedsGarde }
}

/// Fails the compilation if an argument before the last one is not an extractor of the head for any
/// state.
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

/// Fails the compilation if the last argument is not an extractor for any state.
#[track_caller]
pub const fn assert_last_argument(from_head: bool, from_body: bool, content: Content, name: &str) {
    if !from_head && !from_body {
        assert_content(content, TypeText(name));
    }
}

/// Fails the compilation if the last argument of a GET is not an extractor of the head for any
/// state. The whole request is accepted as an argument, because the handler does not have to read
/// its body.
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
        Content::NotAnExtractor => fail(&quoted(argument).text(
            " has nothing to check: write `Valid<Json<T>>`, `Valid<Query<T>>` or `Valid<Path<T>>`, \
             with the extractors of `aplomb`",
        )),
        Content::NeedsGarde => fail(&quoted(argument).text(
            " needs the feature `garde` of the crate `aplomb`: run `cargo add aplomb --features garde`",
        )),
        Content::Database => fail(&quoted(argument).text(
            " cannot run in this database: write `Tx<sqlx::Sqlite>` with the feature `sqlite` of the crate \
             `aplomb`, or `Tx<sqlx::Postgres>` with the feature `postgres`",
        )),
        Content::Deserialize => ("`serde::Deserialize`", "serde::Deserialize"),
        Content::Validate => (
            "`serde::Deserialize` and `garde::Validate`",
            "serde::Deserialize, garde::Validate",
        ),
        Content::CursorKey => ("`aplomb::CursorKey`", "aplomb::CursorKey"),
    };
    let mut written = argument;
    if argument.is_named("Valid") || argument.is_named("Option") {
        written = content_of(argument);
    }
    fail(&must_implement(written, argument, traits, derive));
}

/// Returns the message for an extractor or a response whose content does not implement a trait.
///
/// `written` is the type with the content, and `whole` is the type of the argument or the result.
/// The advice in the message depends on the text of the type. An alias does not show its content. A
/// trait cannot be derived for a primitive type, a tuple, or a type of another crate such as `Vec`.
const fn must_implement(
    written: TypeText<'_>,
    whole: TypeText<'_>,
    traits: &str,
    derive: &str,
) -> Message {
    let Some(content) = written.parameter(0) else {
        let message = quoted(whole).text(" contains a type that must implement ");
        let message = message.text(traits).text(": write `#[derive(");
        return message.text(derive).text(")]` above that type");
    };
    let message = whole.write(quoted(content).text(" in `"));
    let message = message.text("` must implement ").text(traits);
    if content.parameter(0).is_some() {
        let message = message.text(": write `#[derive(").text(derive);
        message.text(")]` above each type in it")
    } else if content.is_declared() {
        let message = message.text(": write `#[derive(").text(derive);
        message.text(")]` above it")
    } else {
        let message = message.text(": use a struct with `#[derive(").text(derive);
        message.text(")]`")
    }
}

/// Returns the content of an extractor or a response as written. For a type alias, returns the
/// alias.
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
        let message = if value.is_named("Json") {
            let message = content.write(message).text("` in place of `");
            value.write(message)
        } else {
            let message = content_of(content).write(message).text("` in place of `");
            content.write(message)
        };
        fail(&message.text("`"));
    }
    if is_document(value) {
        let derive = "serde::Serialize";
        fail(&must_implement(value, value, "`serde::Serialize`", derive));
    }
    fail(&quoted(result).text(
        " is not a response: return a type that implements `IntoResponse`, such as `Json<T>` of a type \
         that implements `serde::Serialize`, or a `Result` of two such types",
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
        " is not a response: write `#[derive(aplomb::ApiError)]` above it if it is your type, or return \
         `aplomb::Result<",
    );
    let message = value.write(message);
    message.text(">` and write `.map_err(Problem::internal)`")
}

/// Returns `true` if the type is written as one of the types that write their content as JSON.
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
