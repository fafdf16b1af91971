//! A small payments service: accounts, payments between them, refunds.
//!
//! [`api`] declares the endpoints; [`ledger`] keeps the money and knows nothing of HTTP; [`app`]
//! opens it from the environment.

pub mod api;
pub mod app;
pub mod ledger;
