//! A policy layer for [axum]: an attribute on a handler declares idempotency keys, rate limits, pages,
//! versions and deadlines. The compiler checks the declaration, and the runtime enforces it.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use aplomb::prelude::*;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Order {
//!     item: String,
//! }
//!
//! /// Places an order, once for each `Idempotency-Key`.
//! #[endpoint(post = "/orders", version = 1, idempotent, rate_limit = "100/min")]
//! async fn place_order(caller: Caller, Json(order): Json<Order>) -> Created<Order> {
//!     println!("{} orders {}", caller.id(), order.item);
//!     Created::new(order)
//! }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     let api = Api::new("orders", routes![place_order])
//!         .store(Store::from_env())
//!         .auth(ApiKeys::from_env());
//!     aplomb::serve(api, async || Ok::<_, aplomb::StartErrors>(())).await
//! }
//! ```
//!
//! The page "Start a service" of the guide, `docs/guide/start.md` in the repository, builds a service
//! with a database, settings, tests and CORS.
//!
//! - [`endpoint`](macro@endpoint) lists the keys of the attribute, and [`routes!`](macro@routes)
//!   collects endpoints.
//! - [`Api`] lists the settings, [`serve`] serves an API, and [`Api::into_router`] returns a router of
//!   axum for a program that has its own layers or routes.
//! - [`policies`] has a page for each policy: its behaviour, its surprises, and the view of a client.
//! - [`problem`] describes errors, and [`store`] describes where records and limits are stored.
//! - `testing`, with the feature of that name, has test servers, clients and clocks.
//!
//! # Features
//!
//! All features are off by default.
//!
//! | feature | adds |
//! |---|---|
//! | `cli` | `aplomb::run`, which serves an API and has the commands `routes`, `check` and `records` |
//! | `redis` | Redis as a store that several instances share |
//! | `postgres` | a PostgreSQL database as the store that several instances share, and transactions of handlers; also adds `sqlx` |
//! | `sqlite` | a SQLite file as the store of idempotency records, and transactions of handlers; also adds `sqlx` |
//! | `multipart` | errors of axum's `Multipart` become problems through `?` |
//! | `garde` | `Valid`, for arguments with rules of garde |
//! | `sqlx` | identifiers and pages in queries of sqlx |
//! | `testing` | the module `testing`; for dev-dependencies |

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod __fuzz;
#[cfg(test)]
mod agreement;
mod api;
pub mod auth;
#[cfg(feature = "cli")]
mod cli;
mod client;
pub mod clock;
mod describe;
mod endpoint;
pub mod extract;
mod facet;
mod id;
mod log_throttle;
mod maybe_ready;
mod pipeline;
pub mod policies;
pub mod prelude;
pub mod problem;
mod request;
mod respond;
mod secret;
mod serve;
mod settings;
mod sharded;
mod spec;
mod start;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod transaction;
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
mod transaction;
mod uniform_map;

#[doc = include_str!("reference/api_error.md")]
pub use aplomb_macros::ApiError;
#[doc = include_str!("reference/cursor_key.md")]
pub use aplomb_macros::CursorKey;
#[doc = include_str!("reference/resource.md")]
pub use aplomb_macros::Resource;
#[doc = include_str!("reference/endpoint.md")]
pub use aplomb_macros::endpoint;
#[doc = include_str!("reference/routes.md")]
pub use aplomb_macros::routes;
pub use http::Uri;

pub use crate::api::Api;
#[cfg(feature = "cli")]
pub use crate::cli::run;
pub use crate::client::ForwardedField;
pub use crate::endpoint::{Endpoint, IsList, Routes};
#[cfg_attr(not(feature = "garde"), doc(hidden))]
pub use crate::extract::Valid;
pub use crate::extract::{Json, Path, Query};
pub use crate::id::{Id, IdOverflow, InvalidId, Resource};
pub use crate::maybe_ready::MaybeReady;
pub use crate::policies::paginate::CursorKey;
pub use crate::problem::ApiError;
pub use crate::request::RequestId;
pub use crate::respond::{Created, EndpointUri, NoContent, ResponseLocation};
pub use crate::secret::Secret;
pub use crate::serve::serve;
pub use crate::spec::{Access, Database, EndpointId, EndpointSpec, Method, SourceLocation};
pub use crate::start::{StartError, StartErrors};

/// The result of a handler. The error is a [`Problem`](problem::Problem); `?` converts every
/// [`ApiError`] to it.
pub type Result<T, E = problem::Problem> = core::result::Result<T, E>;

/// The guide. Its code blocks are compiled, like the examples in the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/adopt.md")]
#[doc = include_str!("../../docs/guide/commands.md")]
#[doc = include_str!("../../docs/guide/errors.md")]
#[doc = include_str!("../../docs/guide/glossary.md")]
#[doc = include_str!("../../docs/guide/idempotency.md")]
#[doc = include_str!("../../docs/guide/identifiers.md")]
#[doc = include_str!("../../docs/guide/migrations.md")]
#[doc = include_str!("../../docs/guide/rate-limits.md")]
#[cfg_attr(feature = "sqlx", doc = include_str!("../../docs/guide/pagination.md"))]
#[cfg_attr(feature = "postgres", doc = include_str!("../../docs/guide/large-tables.md"))]
#[cfg_attr(feature = "postgres", doc = include_str!("../../docs/guide/pools.md"))]
#[doc = include_str!("../../docs/guide/start.md")]
#[doc = include_str!("../../docs/guide/stores.md")]
#[cfg_attr(feature = "sqlite", doc = include_str!("../../docs/guide/transactions.md"))]
#[doc = include_str!("../../docs/guide/versions.md")]
mod guide {}

/// The items that generated code uses, besides the public types of `policies`. Do not use them
/// directly: they may change in any release.
#[doc(hidden)]
pub mod __private {
    /// The crate itself. For the option `crate = path`, the generated code imports the crate from
    /// `path::__private`. If `path` names another crate, only this import fails, so the compiler
    /// reports one error.
    pub extern crate self as aplomb;

    pub use std::vec::Vec;

    pub use axum::response::{IntoResponse, Response};
    pub use serde::Serialize;

    pub use crate::endpoint::*;
    pub use crate::problem::registry::VALIDATION_FAILED;
    pub use crate::problem::{
        Category, FieldError, Location, Problem, ProblemKinds, ProblemSpec, error_response,
    };
}
