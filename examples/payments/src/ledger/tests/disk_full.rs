//! Tests of a full disk. They limit the number of pages of the file, because `SQLite` then returns
//! `SQLITE_FULL`, as on a full disk.

use aplomb::prelude::*;
use aplomb::testing::{ClientRequest, ClientResponse, TestServer, eventually};
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::super::{Ledger, LedgerError};
use super::{ALICE, BOB, TestLedger};
use crate::app::App;

/// A number of pages that no test reaches.
const ROOM: i64 = 1_000_000;

/// Limits the file to its current number of pages.
async fn fill_disk(ledger: &Ledger) {
    let pages = sqlx::query_scalar("PRAGMA page_count")
        .fetch_one(&ledger.writer)
        .await
        .expect("a number of pages");
    set_max_pages(ledger, pages).await;
}

/// Sets the maximum number of pages for the current and the later connections of the writer.
async fn set_max_pages(ledger: &Ledger, pages: i64) {
    let options = (*ledger.writer.connect_options()).clone();
    ledger
        .writer
        .set_connect_options(options.pragma("max_page_count", pages.to_string()));
    sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
        .execute(&ledger.writer)
        .await
        .expect("set");
}

#[tokio::test]
async fn after_a_full_disk_has_room_again_the_ledger_writes_without_a_restart() {
    let test = TestLedger::new().await;
    let (from, to) = (
        test.account(ALICE, 100_000).await,
        test.account(BOB, 0).await,
    );
    fill_disk(&test.ledger).await;
    let mut paid = 0;
    let error = loop {
        match test.pay(ALICE, from, to, 1).await {
            Ok(_) => paid += 1,
            Err(error) => break error,
        }
        assert!(paid < 10_000, "the disk is not full");
    };
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error:?}");
    for _ in 0..3 {
        let error = test.pay(ALICE, from, to, 1).await.expect_err("full");
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error:?}");
        let error = test.ledger.check().await.expect_err("full");
        assert!(matches!(error, LedgerError::Unavailable(_)), "{error:?}");
    }
    assert_eq!(test.balance(BOB, to).await, paid, "readers still read");

    set_max_pages(&test.ledger, ROOM).await;
    test.pay(ALICE, from, to, 1).await.expect("paid");
    // A failed check counts for a second.
    eventually("the ledger is writable", async || {
        test.ledger.check().await.is_ok()
    })
    .await;
    assert_eq!(
        (test.balance(ALICE, from).await, test.balance(BOB, to).await),
        (100_000 - paid - 1, paid + 1)
    );
}

/// The service with the ledger of a test.
async fn serve(test: &TestLedger) -> TestServer {
    let api = Api::new("payments", crate::api::routes())
        .store(Store::memory())
        .auth(ApiKeys::parse("alice:sk_test_alice").expect("a key"));
    TestServer::start(api, App::new(test.ledger.clone()))
        .await
        .expect("a valid API")
}

fn open_account(server: &TestServer, key: usize) -> ClientRequest {
    let request = server.client().post("/v2/accounts").bearer("sk_test_alice");
    request
        .idempotency_key(&format!("key-{key}"))
        .json(json!({ "owner": "A".repeat(64), "currency": "EUR" }).to_string())
}

async fn health(server: &TestServer) -> ClientResponse {
    server.client().get("/v2/health").send().await
}

#[tokio::test]
async fn on_a_full_disk_keys_stay_free_and_the_health_check_fails() {
    let test = TestLedger::new().await;
    let server = serve(&test).await;
    fill_disk(&test.ledger).await;
    let mut key = 0;
    let refused = loop {
        let response = open_account(&server, key).send().await;
        if response.status != 201 {
            break response;
        }
        key += 1;
        assert!(key < 10_000, "the disk is not full");
    };
    refused.problem(503, "LEDGER_UNAVAILABLE");
    open_account(&server, key)
        .send()
        .await
        .problem(503, "LEDGER_UNAVAILABLE");
    health(&server).await.problem(503, "LEDGER_UNAVAILABLE");

    set_max_pages(&test.ledger, ROOM).await;
    let opened = open_account(&server, key).send().await;
    assert!(opened.status == 201 && !opened.replayed(), "{opened:?}");
    eventually("the service is healthy", async || {
        health(&server).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_key_is_free_if_the_transaction_did_not_begin() {
    let test = TestLedger::new().await;
    let server = serve(&test).await;
    test.ledger.writer.close().await;
    for _ in 0..2 {
        open_account(&server, 0)
            .send()
            .await
            .problem(503, "LEDGER_UNAVAILABLE");
    }
    health(&server).await.problem(503, "LEDGER_UNAVAILABLE");
}
