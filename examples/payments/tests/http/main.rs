//! Tests of the endpoints and their policies over HTTP.

mod accounts;
mod payments;
mod payouts;
mod policies;
mod service;
