use axum::extract::path::{ErrorKind, RawPathParams};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path as AxumPath};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::transparent;
use crate::problem::{FieldError, Location, Problem, registry};

/// The path parameters, as a single value, a tuple by position, or a struct by name.
///
/// An invalid parameter is a 400 `INVALID_PARAMETER` whose `errors` name the parameter.
///
/// ```
/// use aplomb::Path;
///
/// async fn item(Path((order, item)): Path<(u64, u64)>) -> String {
///     format!("item {item} of order {order}")
/// }
/// # let _ = axum::Router::<()>::new().route("/orders/{order}/items/{item}", axum::routing::get(item));
/// ```
///
/// `Option<Path<T>>` is `None` if the path template has no parameters, as in axum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

transparent!(Path);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match <AxumPath<T> as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(AxumPath(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(problem(&rejection, &names(parts, state).await)),
        }
    }
}

impl<S, T> OptionalFromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send + 'static,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        match <AxumPath<T> as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(path) => Ok(path.map(|AxumPath(parameters)| Self(parameters))),
            Err(rejection) => Err(problem(&rejection, &names(parts, state).await)),
        }
    }
}

/// Returns the names of the parameters, in the order of the path template.
pub(super) async fn names<S: Send + Sync>(parts: &mut Parts, state: &S) -> Vec<String> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(parameters) => parameters.iter().map(|(name, _)| name.to_owned()).collect(),
        Err(_) => Vec::new(),
    }
}

fn problem(rejection: &PathRejection, names: &[String]) -> Problem {
    let PathRejection::FailedToDeserializePathParams(failure) = rejection else {
        return Problem::internal(rejection.to_string());
    };
    let name = |index: usize| names.get(index).cloned().unwrap_or_default();
    let (parameter, detail) = match failure.kind() {
        ErrorKind::ParseErrorAtKey {
            key, expected_type, ..
        } => (key.clone(), expected(expected_type)),
        ErrorKind::ParseErrorAtIndex {
            index,
            expected_type,
            ..
        } => (name(*index), expected(expected_type)),
        ErrorKind::ParseError { expected_type, .. } => (name(0), expected(expected_type)),
        ErrorKind::InvalidUtf8InPathParam { key } => (key.clone(), String::from("expected UTF-8")),
        ErrorKind::DeserializeError { key, message, .. } => (key.clone(), message.clone()),
        ErrorKind::Message(message) => (name(0), message.clone()),
        mistake => return Problem::internal(mistake.to_string()),
    };
    Problem::new(&registry::INVALID_PARAMETER)
        .with_detail(format!(
            "the path parameter `{parameter}` is invalid: see `errors`"
        ))
        .with_error(FieldError::new(
            Location::Parameter(parameter.into()),
            "INVALID_FORMAT",
            detail,
        ))
}

fn expected(kind: &str) -> String {
    format!("expected a value of the type {kind}")
}
