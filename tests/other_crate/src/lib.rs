//! Endpoints that another crate lists in its routes.

#![allow(clippy::unused_async, reason = "the tests compile only the signatures")]

use aplomb::{Path, endpoint};

/// Returns an order.
#[endpoint(get = "/orders/{id}", version = 1)]
pub async fn get_order(Path(id): Path<u64>) -> String {
    format!("order {id}")
}

/// A module with an endpoint.
pub mod health {
    use aplomb::endpoint;

    /// Returns the health of the service.
    #[endpoint(get = "/health", public)]
    pub async fn up() -> &'static str {
        "up"
    }
}
