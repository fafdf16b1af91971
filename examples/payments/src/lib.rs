//! A small payments service with accounts, payments between them, refunds and payouts.
//!
//! The modules `api`, `app` and `ledger` are compiled twice: in [`sqlite`] for SQLite, and in
//! [`postgres`] for PostgreSQL. The alias `Db` names the database. A service for one database has
//! these modules one time, directly in this file.

#![expect(
    clippy::duplicate_mod,
    reason = "the modules are compiled for each database"
)]

pub mod bank;
pub mod postgres;
pub mod settings;
pub mod sqlite;
