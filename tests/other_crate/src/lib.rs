//! Endpoints that another crate lists.

#![allow(clippy::unused_async, reason = "what is tried is the signature")]

use aplomb::{Path, endpoint};

/// Reads an order.
#[endpoint(get = "/orders/{id}", version = 1)]
pub async fn get_order(Path(id): Path<u64>) -> String {
    format!("order {id}")
}

/// Endpoints of a module.
pub mod health {
    use aplomb::endpoint;

    /// Whether the service is up.
    #[endpoint(get = "/health", public)]
    pub async fn up() -> &'static str {
        "up"
    }
}
