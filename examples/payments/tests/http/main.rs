//! The service over HTTP: what its endpoints promise.

mod accounts;
mod payments;
mod promises;
mod service;
