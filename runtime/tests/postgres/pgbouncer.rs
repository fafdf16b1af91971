//! A PgBouncer that pools transactions between the store and the server.

use std::sync::Arc;

use aplomb::policies::idempotency::{BeginOutcome, IdempotencyStore};
use aplomb::store::PostgresRecords;
use aplomb::testing::{PgBouncer, PostgresClock, PostgresServer};
use futures_util::future::join_all;

use crate::{begin, complete};

async fn connect(bouncer: &PgBouncer, database: &str) -> PostgresRecords {
    let url = format!("{}?pgbouncer=true", bouncer.url_of(database));
    let records = PostgresRecords::connect(&url).await;
    records.expect("a database that can be opened")
}

mod records {
    use super::*;

    fn servers() -> (PostgresServer, PgBouncer) {
        let server = PostgresServer::start();
        let bouncer = PgBouncer::start(&server, 2);
        (server, bouncer)
    }

    aplomb::idempotency_store_suite!(every_case: servers() => |servers, case| async {
        let (server, bouncer) = servers;
        server.create_database(case).await;
        let records = connect(bouncer, case).await;
        let clock = PostgresClock::replace(&server.options(case)).await;
        let clock: &'static PostgresClock = Box::leak(Box::new(clock));
        (Arc::new(records), clock)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_two_connections_of_the_server() {
    let server = PostgresServer::start();
    let bouncer = PgBouncer::start(&server, 2);
    let stores = [
        connect(&bouncer, "postgres").await,
        connect(&bouncer, "postgres").await,
    ];
    let begins: Vec<_> = (0..200).map(|number| begin(number / 2)).collect();
    let calls = begins.iter().zip(stores.iter().cycle());
    let outcomes = join_all(calls.map(async |(begin, store)| {
        let outcome = store.begin(begin).await;
        if outcome == Ok(BeginOutcome::Started) {
            store
                .complete(&complete(begin))
                .await
                .expect("a completion");
        }
        outcome
    }))
    .await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let is_start = |outcome: &&Result<_, _>| **outcome == Ok(BeginOutcome::Started);
    assert_eq!(outcomes.iter().filter(is_start).count(), 100);
    let done = "SELECT count(*) FROM aplomb.record WHERE state = 2";
    assert_eq!(server.query(done).await, "100");
}

#[tokio::test]
async fn a_pgbouncer_whose_server_restarts_is_used_again() {
    let server = PostgresServer::start();
    let bouncer = PgBouncer::start(&server, 2);
    let store = connect(&bouncer, "postgres").await;
    let run = begin(1);
    assert_eq!(store.begin(&run).await, Ok(BeginOutcome::Started));
    server.restart();
    // The pooler reports that its connection broke, and the call is repeated.
    assert_eq!(store.begin(&run).await, Ok(BeginOutcome::Started));
    assert!(store.complete(&complete(&run)).await.is_ok());
}
