//! The store in a PostgreSQL database: the suites that every store must pass, concurrent calls,
//! servers that fail, and databases that cannot be used.

mod concurrent;
mod faults;
mod limits;
mod migrations;
mod pgbouncer;
mod start;
mod suites;

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use aplomb::policies::idempotency::{
    Begin, Complete, Fingerprint, OnCrash, Outcome, RecordKey, StoredResponse, Token,
};
use aplomb::store::PostgresRecords;
use aplomb::testing::{PostgresClock, PostgresServer};

/// Opens a store in a database of the server.
async fn open(server: &PostgresServer, database: &str) -> PostgresRecords {
    let records = PostgresRecords::open(server.options(database)).await;
    records.expect("a database that can be opened")
}

/// Opens a store in a new database, with a clock that the test advances.
async fn new_store(
    server: &PostgresServer,
    database: &str,
) -> (Arc<PostgresRecords>, PostgresClock) {
    server.create_database(database).await;
    let records = open(server, database).await;
    let clock = PostgresClock::replace(&server.options(database)).await;
    (Arc::new(records), clock)
}

fn begin(number: u32) -> Begin {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&number.to_be_bytes());
    Begin::new(
        RecordKey::new(name, name),
        Fingerprint::new(1, [0; 32]),
        Token::random(),
        Duration::from_secs(30),
        OnCrash::Unknown,
        Duration::from_hours(24),
    )
}

fn response(text: &str) -> StoredResponse {
    let (head, ()) = http::Response::new(()).into_parts();
    StoredResponse::new(&head, Some(Bytes::copy_from_slice(text.as_bytes())))
}

/// Returns the arguments of the completion of a run.
fn complete(begin: &Begin) -> Complete {
    let outcome = Outcome::Response(response("done"));
    Complete::new(begin.lease(), begin.fingerprint, outcome, begin.ttl)
}
