//! A small payments service with accounts, payments between them, and refunds.
//!
//! [`api`] declares the endpoints. [`ledger`] is the business logic, and does not depend on HTTP.
//! [`app`] is the state of the endpoints, which it opens from environment variables.

pub mod api;
pub mod app;
pub mod ledger;
