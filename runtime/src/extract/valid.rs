use axum::extract::{FromRequest, FromRequestParts, Request};
use garde::{Report, Validate};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::path::names;
use super::violation::{Step, parameter, pointer, steps};
use super::{Json, Path, Query, json, transparent};
use crate::problem::{FieldError, Location, Problem, ProblemSpec, registry};

/// An extractor that checks the constraints of its data: `Valid<Json<T>>`, `Valid<Query<T>>` or
/// `Valid<Path<T>>`. The type declares the constraints with [garde](https://docs.rs/garde).
///
/// ```
/// use aplomb::prelude::*;
/// use aplomb::Valid;
/// use garde::Validate;
///
/// #[derive(serde::Deserialize, Validate)]
/// struct Order {
///     #[garde(length(min = 1, max = 100), dive)]
///     lines: Vec<Line>,
/// }
///
/// #[derive(serde::Deserialize, Validate)]
/// #[serde(rename_all = "camelCase")]
/// struct Line {
///     #[garde(range(min = 1))]
///     quantity: u32,
///     #[garde(length(max = 200))]
///     gift_text: String,
/// }
///
/// /// Places an order.
/// #[endpoint(post = "/orders", version = 1, idempotent)]
/// async fn place_order(Valid(Json(order)): Valid<Json<Order>>) -> Created<usize> {
///     Created::new(order.lines.len())
/// }
/// ```
///
/// Data that violates constraints is a 422 `VALIDATION_FAILED` in a body, and a 400
/// `INVALID_PARAMETER` in the path or query. The `errors` of this problem list all violations, up
/// to 100. Each error has a `pointer` into the body or the name of the `parameter`, the code
/// `CONSTRAINT_VIOLATED`, and garde's message. The errors are sorted by location, and list items by
/// index, so the same data always gets the same response. Data that cannot be parsed is rejected
/// first, with the same response as without `Valid`.
///
/// - garde names fields as in Rust. If the member's name in the document differs only in style,
///   such as `giftText` for `gift_text`, the pointer has the name in the document. This is also
///   true in a flattened struct. If serde renames a member to another word, or if the member is
///   missing in the document, the pointer has the name in Rust.
/// - garde does not name the variants of an enum. If the document has the variant's name around its
///   fields (`{"card": {"number": …}}`), the pointer lacks this name. Use `#[serde(tag = "…")]`
///   instead.
/// - The items of a `HashSet` have no location in the document. Use a list instead.
///
/// Constraints that depend on the state of the service need a [context](ValidationContext).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Valid<E>(pub E);

transparent!(Valid);

/// The context of a type's constraints, made from the state `S` of the API. The context `()` is for
/// constraints that need no context.
///
/// ```
/// use aplomb::extract::ValidationContext;
/// use aplomb::prelude::*;
/// use aplomb::{Valid, routes};
/// use garde::Validate;
///
/// #[derive(Clone)]
/// struct App { largest: i64 }
///
/// struct Limits { largest: i64 }
///
/// impl ValidationContext<App> for Limits {
///     fn from_state(app: &App) -> Self {
///         Self { largest: app.largest }
///     }
/// }
///
/// #[derive(serde::Deserialize, Validate)]
/// #[garde(context(Limits))]
/// struct Payment {
///     #[garde(custom(within_limits))]
///     amount: i64,
/// }
///
/// fn within_limits(amount: &i64, limits: &Limits) -> garde::Result {
///     if *amount > limits.largest {
///         return Err(garde::Error::new(format!("at most {}", limits.largest)));
///     }
///     Ok(())
/// }
///
/// /// Creates a payment.
/// #[endpoint(post = "/payments", idempotent)]
/// async fn pay(Valid(Json(payment)): Valid<Json<Payment>>) -> Created<i64> {
///     Created::new(payment.amount)
/// }
///
/// let routes: Routes<App> = routes![pay];
/// ```
pub trait ValidationContext<S>: Sized {
    /// Returns the context.
    fn from_state(state: &S) -> Self;
}

impl<S> ValidationContext<S> for () {
    fn from_state(_: &S) -> Self {}
}

impl<S, T> FromRequest<S> for Valid<Json<T>>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context: ValidationContext<S>>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let text = json::text(json::json_body(request)).await?;
        let data: T = json::parse(&text)?;
        check(&data, state, &registry::VALIDATION_FAILED, || {
            let document = serde_json::from_slice(&text).unwrap_or_default();
            move |path: &[Step]| pointer(&document, path)
        })?;
        Ok(Self(Json(data)))
    }
}

impl<S, T> FromRequestParts<S> for Valid<Query<T>>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context: ValidationContext<S>>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await?;
        check(&query.0, state, &registry::INVALID_PARAMETER, || {
            let names = query_names(parts);
            move |path: &[Step]| parameter(&names, path)
        })?;
        Ok(Self(query))
    }
}

impl<S, T> FromRequestParts<S> for Valid<Path<T>>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context: ValidationContext<S>> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await?;
        let names = names(parts, state).await;
        check(&path.0, state, &registry::INVALID_PARAMETER, || {
            move |path: &[Step]| parameter(&names, path)
        })?;
        Ok(Self(path))
    }
}

/// Validates the data. `location` is called only if there are violations.
fn check<S, T, L>(
    data: &T,
    state: &S,
    spec: &ProblemSpec,
    location: impl FnOnce() -> L,
) -> Result<(), Problem>
where
    T: Validate<Context: ValidationContext<S>>,
    L: Fn(&[Step]) -> Location,
{
    let context = T::Context::from_state(state);
    data.validate_with(&context)
        .map_err(|report| problem(&report, spec, location()))
}

/// Returns the names of the parameters in a query.
fn query_names(parts: &Parts) -> Vec<String> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// The maximum number of violations that are located and sorted. It limits the work for a long list
/// of wrong items. The response has the first 100 of the sorted violations.
const MAX_VIOLATIONS: usize = 1_000;

#[cold]
fn problem(report: &Report, spec: &ProblemSpec, location: impl Fn(&[Step]) -> Location) -> Problem {
    let mut violations: Vec<(Vec<Step>, &str)> = report
        .iter()
        .take(MAX_VIOLATIONS)
        .map(|(path, error)| (steps(path), error.message()))
        .collect();
    violations.sort();
    let problem = Problem::new(spec).with_detail("the data violates the constraints in `errors`");
    violations
        .into_iter()
        .fold(problem, |problem, (steps, message)| {
            problem.with_error(FieldError::new(
                location(&steps),
                "CONSTRAINT_VIOLATED",
                message.to_owned(),
            ))
        })
}
