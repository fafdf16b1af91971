//! Tests of the transactions of handlers. All cases run on SQLite and on PostgreSQL: the module
//! `cases` is compiled one time for each database.

#![expect(
    clippy::duplicate_mod,
    reason = "the cases are compiled for each database"
)]

mod postgres;
mod sqlite;
