//! The names that most files with endpoints need: `use aplomb::prelude::*;`.
//!
//! If another glob import contains the same name, import the intended item by its name.

pub use aplomb_macros::{endpoint, routes};
pub use axum::extract::{FromRef, State};

pub use crate::api::Api;
pub use crate::auth::{ApiKeys, Caller};
pub use crate::extract::{Json, Path, Query};
pub use crate::id::Id;
pub use crate::policies::idempotency::StepKeys;
pub use crate::policies::paginate::{OffsetRequest, Page, PageRequest};
pub use crate::problem::Problem;
pub use crate::respond::{Created, NoContent};
pub use crate::store::Store;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use crate::transaction::Tx;
pub use crate::{ApiError, CursorKey, Resource, Routes};
