use axum::extract::{FromRequest, FromRequestParts, Request};
use garde::{Report, Validate};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::path::names;
use super::place::{Step, parameter, pointer, steps};
use super::{Json, Path, Query, json, transparent};
use crate::problem::{FieldError, Location, Problem, ProblemSpec, registry};

/// An argument whose data keeps the rules that it declares with [garde](https://docs.rs/garde):
/// `Valid<Json<T>>`, `Valid<Query<T>>` or `Valid<Path<T>>`.
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
/// What is readable and breaks rules is a 422 `VALIDATION_FAILED` for a body, and a 400 `INVALID_PARAMETER` for path
/// and query. Its `errors` list everything that is broken, 100 mistakes at most: each has a `pointer` into the body or
/// the name of the `parameter`, the code `CONSTRAINT_VIOLATED`, and garde's message. They are sorted by place, lists by
/// position, so that the same data always gets the same answer. What cannot be read is refused before, as without
/// `Valid`.
///
/// - garde names fields as Rust does. A member of the document that is spelt in another style (`giftText` for
///   `gift_text`) is found, and so are those of a flattened struct. One that serde renames altogether, or that is
///   missing in the document, is named as in Rust.
/// - garde does not name the variants of an enum. Where the document does, around their fields
///   (`{"card": {"number": …}}`), the pointer leaves the name out; write `#[serde(tag = "…")]`.
/// - Items of a `HashSet` have no place in the document; a list has.
///
/// Rules that depend on the service's state have a [context](ValidationContext).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Valid<E>(pub E);

transparent!(Valid);

/// What the rules of a type depend on, taken from the state `S` of the API; `()` for those that depend on nothing.
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
///     #[garde(custom(affordable))]
///     amount: i64,
/// }
///
/// fn affordable(amount: &i64, limits: &Limits) -> garde::Result {
///     if *amount > limits.largest {
///         return Err(garde::Error::new(format!("at most {}", limits.largest)));
///     }
///     Ok(())
/// }
///
/// /// Pays.
/// #[endpoint(post = "/payments", idempotent)]
/// async fn pay(Valid(Json(payment)): Valid<Json<Payment>>) -> Created<i64> {
///     Created::new(payment.amount)
/// }
///
/// let routes: Routes<App> = routes![pay];
/// ```
pub trait ValidationContext<S>: Sized {
    /// What the rules may look at.
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
            move |place: &[Step]| pointer(&document, place)
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
            let names = sent(parts);
            move |place: &[Step]| parameter(&names, place)
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
            move |place: &[Step]| parameter(&names, place)
        })?;
        Ok(Self(path))
    }
}

/// Where a mistake is looked for only matters once there is one.
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

/// The names of the parameters that a query has.
fn sent(parts: &Parts) -> Vec<String> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// Mistakes that are looked at. A list of many wrong items is not worth more.
const MAX_ERRORS: usize = 1_000;

#[cold]
fn problem(report: &Report, spec: &ProblemSpec, location: impl Fn(&[Step]) -> Location) -> Problem {
    let mut mistakes: Vec<(Vec<Step>, &str)> = report
        .iter()
        .take(MAX_ERRORS)
        .map(|(path, error)| (steps(path), error.message()))
        .collect();
    mistakes.sort();
    let problem = Problem::new(spec).with_detail("the data breaks the rules that `errors` lists");
    mistakes
        .into_iter()
        .fold(problem, |problem, (steps, message)| {
            problem.with_error(FieldError::new(
                location(&steps),
                "CONSTRAINT_VIOLATED",
                message.to_owned(),
            ))
        })
}
