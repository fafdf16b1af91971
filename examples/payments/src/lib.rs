//! A small payments service: accounts, payments between them, refunds.
//!
//! [`ledger`] keeps the money and knows nothing of HTTP; [`app`] opens it from the environment.

pub mod app;
pub mod ledger;
