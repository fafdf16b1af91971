//! Uses every macro in a module where the names that generated code might use refer to the type
//! `Shadow`. The imports are renamed, because `shadow!` defines items with the usual names.

use ::aplomb::auth::Caller;
use ::aplomb::policies::idempotency::StepKeys;
use ::aplomb::policies::paginate::{OffsetRequest, Page, PageRequest};
use ::aplomb::policies::rate_limit::LimitKey;
use ::aplomb::{
    ApiError, Created, CursorKey, Id, Json, Path, Query, Resource, endpoint, routes as list,
};
use ::axum::extract::FromRequestParts;
use ::axum::http::request::Parts;
use ::core::error::Error;
use ::core::fmt::{Debug, Display, Formatter, Result as Written};
use ::core::future::ready;
use ::core::marker::Sync as Shared;
use ::core::option::Option as Maybe;
use ::core::primitive::{i64 as Signed, str as Text, u64 as Unsigned};
use ::core::result::Result as Outcome;
use ::std::string::String as Owned;
use ::std::vec::Vec as List;

/// A unit struct. Generated code that uses it by mistake, instead of the intended item, does not
/// compile.
#[derive(Debug)]
#[non_exhaustive]
pub struct Shadow;

/// Re-exports `Shadow` under each of these names, so that the names are shadowed in this module.
macro_rules! shadow {
    ($($name:ident)*) => {$(
        pub use self::Shadow as $name;
    )*};
}

// Names of crates, and of primitive types.
shadow!(core std alloc aplomb axum serde http bool char str u8 u16 u32 u64 usize i64);
// Names in the prelude.
shadow!(Option Some None Result Ok Err Vec String Box Clone Copy Send Sync Sized From Into TryFrom TryInto);
shadow!(Default Drop Fn FnMut FnOnce Iterator IntoIterator AsRef ToOwned ToString PartialOrd Ord);
// Names in the runtime.
shadow!(Endpoint EndpointId EndpointSpec EndpointUri SourceLocation Method Routes Mount Incoming Problem);
shadow!(Checked Checks Content IfPassed StateType Probe ProbeFallback FindPath Serialize);
shadow!(HeadArg LastArg BodylessArg IntoResponse Response);
// Names of types, constants and variables in generated code.
shadow!(S T M0 M1 P Index Parameters Entry0 Entry1 __P __T __M0 __M1 __Entry1);
shadow!(ARGUMENTS LIMITS DEPRECATION SPECS CHECKS KINDS ID SPEC READS_BODY COLUMNS PREFIX);
shadow!(state request a0 a1 parameters field0 inner kinds value0 value1 values head);

/// An extractor whose name could collide with a type parameter in generated code.
#[derive(Debug)]
#[non_exhaustive]
pub struct __S;

pub use self::__S as __Index;

impl<App: Shared> FromRequestParts<App> for __S {
    type Rejection = Refused;

    async fn from_request_parts(_: &mut Parts, _: &App) -> Outcome<Self, Refused> {
        Outcome::Ok(ready(Self).await)
    }
}

/// A resource.
#[derive(Debug, Resource)]
#[resource(prefix = "order")]
#[non_exhaustive]
pub struct Order;

/// The columns of a list.
#[derive(Debug, CursorKey)]
#[non_exhaustive]
pub struct Newest {
    /// The first column.
    #[cursor(desc)]
    pub values: Signed,
    /// The last column.
    #[cursor(unique)]
    pub value0: Id<Order>,
}

/// An error enum with a variant of each form that `ApiError` accepts.
#[derive(Debug, ApiError)]
#[non_exhaustive]
pub enum Refused {
    /// A variant with an extension member.
    #[problem(conflict, code = "SOLD_OUT")]
    #[non_exhaustive]
    SoldOut {
        /// The extension member.
        #[problem(extension)]
        field0: Unsigned,
    },
    /// A mistake in the body.
    #[problem(validation, pointer = "#/amount")]
    Amount,
    /// A variant that contains another `ApiError`.
    #[problem(transparent)]
    Missing(Missing),
}

/// An error struct instead of an enum.
#[derive(Debug, ApiError)]
#[problem(not_found, code = "ORDER_MISSING")]
#[non_exhaustive]
pub struct Missing {
    /// The identifier of the missing order.
    pub inner: Id<Order>,
}

impl Missing {
    /// Returns the error for an order with a random identifier.
    #[must_use]
    pub fn random() -> Self {
        Self { inner: Id::new() }
    }
}

impl Display for Refused {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Written {
        formatter.write_str("refused")
    }
}

impl Display for Missing {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Written {
        formatter.write_str("missing")
    }
}

impl Error for Refused {}
impl Error for Missing {}

/// A limit key that accepts no value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tenant;

impl LimitKey for Tenant {
    fn verify(_: &Text, _: Maybe<&Caller>) -> Maybe<Owned> {
        Maybe::None
    }
}

/// Returns the cost of a request.
const fn weigh(_: &Parts) -> Unsigned {
    1
}

/// Declares every policy that a GET without pages can have.
///
/// # Errors
///
/// Every call returns [`Refused::SoldOut`].
#[endpoint(
    get = "/orders/{id}",
    version = 1,
    rate_limit("5/s", cost = weigh, by = header("x-tenant", Tenant), name = "orders"),
    rate_limit("9/s", by = caller),
    deprecated = "2026-06-30",
    sunset("2026-12-31", enforce),
    successor = __Entry0,
    timeout = "5s",
    public
)]
pub async fn get_order(
    _: Caller,
    Path(order): Path<Unsigned>,
    _: Maybe<Query<[(Signed, Signed); 0]>>,
    _: __S,
    _: __Index,
) -> Outcome<Json<Unsigned>, Refused> {
    ready(Outcome::Err(Refused::SoldOut { field0: order })).await
}

/// Sets `type_name` to a name that `routes!` could use for an alias.
#[endpoint(get = "/orders/{id}", version = 2.., type_name = __Entry0)]
pub async fn get_newer_order(_: Maybe<Path<Id<Order>>>) {
    ready(()).await;
}

/// Declares the policies that only an endpoint with a body can have.
#[endpoint(
    post = "/orders",
    version = 1..=2,
    idempotent(
        ttl = "1h",
        max_stored_body = "1KiB",
        optional,
        anonymous,
        on_crash = rerun,
        headers("x-region")
    ),
    body_limit = "1KiB",
    public
)]
pub async fn create_order(_: Maybe<StepKeys>, amount: Maybe<Json<Unsigned>>) -> Created<Unsigned> {
    ready(Created::new(amount.map_or(0, |Json(sent)| sent))).await
}

/// Lists orders in pages by cursor.
#[endpoint(get = "/orders", version = 1, paginate(cursor, default = 10, max = 20))]
pub async fn list_orders(page: PageRequest<Newest>) -> Page<Unsigned> {
    ready(page.page(List::new(), |_| Newest {
        values: 0,
        value0: Id::new(),
    }))
    .await
}

/// Lists orders in numbered pages.
#[endpoint(get = "/numbered", version = 1, paginate = offset)]
pub async fn list_orders_by_offset(page: OffsetRequest) -> Page<Unsigned> {
    ready(page.page(List::new(), Maybe::None)).await
}

/// Returns a list without pages.
#[endpoint(get = "/days", unpaginated = "a week has seven")]
pub async fn days() -> Json<[Unsigned; 7]> {
    ready(Json([1, 2, 3, 4, 5, 6, 7])).await
}

/// Lists the endpoints of this module.
#[must_use]
pub fn routes() -> ::aplomb::Routes<()> {
    /// Declares an endpoint inside a function.
    #[endpoint(get = "/local", public)]
    async fn local() {
        ready(()).await;
    }

    list![
        get_order,
        __Entry0,
        create_order,
        list_orders,
        list_orders_by_offset,
        days,
        local
    ]
}
