//! Typed links: the URI of an endpoint, built from the parameters that the endpoint's `Path`
//! argument reads.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use crate::respond::EndpointUri;
use crate::spec::EndpointSpec;

/// An argument that reads path parameters.
pub trait PathArgument {
    /// The type of the parameters.
    type Parameters;
}

impl<T> PathArgument for axum::extract::Path<T> {
    type Parameters = T;
}

impl<T> PathArgument for crate::extract::Path<T> {
    type Parameters = T;
}

impl<A: PathArgument> PathArgument for Option<A> {
    type Parameters = A::Parameters;
}

/// The index of the first element of a list.
#[derive(Debug)]
pub enum Here {}

/// The index of an element after the first one.
#[derive(Debug)]
pub struct There<I>(core::marker::PhantomData<I>);

/// A list of arguments `(A, (B, (C, ())))` with exactly one path argument. The compiler infers the
/// index `I` of this argument.
#[diagnostic::on_unimplemented(
    message = "this endpoint has no `Path` argument, or several, so its link cannot be typed",
    label = "no single `Path<…>` among the endpoint's arguments"
)]
pub trait FindPath<I> {
    /// The type of the parameters that the path argument reads.
    type Parameters;
}

impl<A: PathArgument, Rest> FindPath<Here> for (A, Rest) {
    type Parameters = A::Parameters;
}

impl<A, Rest: FindPath<I>, I> FindPath<There<I>> for (A, Rest) {
    type Parameters = Rest::Parameters;
}

/// Returns the link of an endpoint without path parameters.
pub fn link(spec: &EndpointSpec) -> EndpointUri {
    link_to(spec, &())
}

/// Returns the link of an endpoint. `parameters` is a scalar, a tuple in the order of the path, or
/// a struct whose fields have the names of the path parameters. Each parameter is percent-encoded
/// as one path segment.
///
/// # Panics
///
/// Panics if `parameters` does not serialize to the parameters of the path template. The start-up
/// check rules this out for the type that the endpoint's `Path` argument reads.
pub fn link_to<P: Serialize + ?Sized>(spec: &EndpointSpec, parameters: &P) -> EndpointUri {
    let values = serde_json::to_value(parameters)
        .expect("path parameters are scalars, tuples or structs of them");
    let path = fill(spec, &values);
    EndpointUri::new(
        path.parse()
            .expect("a template filled with percent-encoded segments is a valid URI"),
    )
}

fn fill(spec: &EndpointSpec, values: &Value) -> String {
    let mut path = match spec.version {
        Some(version) => format!("/v{}", version.newest_named()),
        None => String::new(),
    };
    let mut rest = spec.path;
    let mut position = 0;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (name, tail) = tail
            .split_once('}')
            .expect("the macro refuses a path with an unclosed brace");
        let value = parameter(values, name, position).unwrap_or_else(|| {
            panic!(
                "no value for the path parameter `{name}` of `{}`",
                spec.path
            )
        });
        path.push_str(literal);
        path.extend(utf8_percent_encode(&value, SEGMENT));
        rest = tail;
        position += 1;
    }
    path.push_str(rest);
    path
}

fn parameter(values: &Value, name: &str, position: usize) -> Option<String> {
    match values {
        Value::Object(fields) => scalar(fields.get(name)?),
        Value::Array(items) => scalar(items.get(position)?),
        single => scalar(single),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// All characters except the unreserved ones (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::version::VersionSpec;
    use crate::spec::Method;

    const ITEM: EndpointSpec =
        EndpointSpec::new(Method::Get, "/orders/{order}/items/{item}", "item")
            .with_version(VersionSpec::new(1, Some(3)));

    #[test]
    fn tuples_fill_path_parameters_by_position_in_the_newest_version() {
        assert_eq!(link_to(&ITEM, &("a b", 7)), "/v3/orders/a%20b/items/7");
    }

    #[test]
    fn structs_fill_path_parameters_by_name() {
        #[derive(Serialize)]
        struct Parameters {
            item: u64,
            order: &'static str,
        }
        assert_eq!(
            link_to(
                &ITEM,
                &Parameters {
                    item: 7,
                    order: "x/y"
                }
            ),
            "/v3/orders/x%2Fy/items/7"
        );
    }

    #[test]
    fn the_link_of_a_path_without_parameters_is_the_path() {
        assert_eq!(
            link(&EndpointSpec::new(Method::Get, "/health", "health")),
            "/health"
        );
    }
}
