//! The examples on the problem pages equal the documents that a client gets.

use core::time::Duration;
use std::path::Path as FilePath;
use std::sync::Arc;

use aplomb::Id;
use aplomb::prelude::*;
use aplomb::routes;
use aplomb::store::{MemoryLimits, MemoryRecords, Store};
use aplomb::testing::{ClientRequest, ClientResponse, TestClock};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;

use crate::app::{ALICE, App, TestService};
use crate::auth::Sessions;

#[derive(Resource)]
#[resource(prefix = "pay")]
struct Payment;

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read")]
struct NewPayment {
    amount: i64,
}

/// Creates a payment.
#[endpoint(post = "/payments", idempotent, body_limit = "1KB")]
async fn pay(Json(_): Json<NewPayment>) {}

/// Panics in a run with an idempotency key.
#[endpoint(post = "/crash", idempotent)]
async fn crash() {
    panic!("as requested");
}

/// Waits until the test releases it.
#[endpoint(post = "/slow", idempotent)]
async fn slow(State(app): State<App>) {
    app.hold().await;
}

/// Reads its body and waits until the test releases it.
#[endpoint(post = "/uploads", idempotent, body_limit = "64KB")]
async fn upload(State(app): State<App>, _: Bytes) {
    app.hold().await;
}

/// Reads a payment.
#[endpoint(get = "/payments/{id}")]
async fn read(Path(_): Path<Id<Payment>>) {}

/// Admits one request per minute.
#[endpoint(get = "/limited", public, rate_limit("1/min", by = ip))]
async fn limited() {}

/// Returns a body that is too large to be stored.
#[endpoint(post = "/large", idempotent(max_stored_body = "16B"))]
async fn large() -> &'static str {
    "longer than sixteen bytes"
}

#[derive(CursorKey)]
struct Above {
    #[cursor(unique)]
    number: i64,
}

/// Lists numbers.
#[endpoint(get = "/numbers", public, paginate = cursor)]
async fn numbers(page: PageRequest<Above>) -> Page<i64> {
    page.page(Vec::new(), |number| Above { number: *number })
}

/// Is past its enforced sunset.
#[endpoint(get = "/accounts/{id}", version = 1, sunset("2020-12-31", enforce), successor = account_v2)]
async fn account(Path(_): Path<u64>) {}

/// The successor of `account`.
#[endpoint(get = "/accounts/{id}", version = 2)]
async fn account_v2(Path(_): Path<u64>) {}

/// Never responds.
#[endpoint(get = "/hang", public, timeout = "20ms")]
async fn hang() {
    core::future::pending::<()>().await;
}

/// Returns the status in the path, without a body.
#[endpoint(get = "/status/{status}", public)]
async fn status(Path(status): Path<u16>) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

/// Waits with its transaction open until the test releases it.
#[endpoint(put = "/held")]
async fn held(State(app): State<App>, mut tx: Tx<Sqlite>) -> aplomb::Result<()> {
    sqlx::query("SELECT 1").execute(&mut tx).await?;
    app.hold().await;
    Ok(())
}

/// Waits for the transactions before it, for half a second at most.
#[endpoint(put = "/waiting", timeout = "1s")]
async fn waiting(mut tx: Tx<Sqlite>) -> aplomb::Result<()> {
    sqlx::query("SELECT 1").execute(&mut tx).await?;
    Ok(())
}

/// Executes a statement that takes longer than a transaction may last.
#[endpoint(post = "/counting", idempotent)]
async fn counting(mut tx: Tx<Sqlite>) -> aplomb::Result<()> {
    let statement = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
        WHERE i < 1000000000) SELECT count(*) FROM n";
    sqlx::query(statement).execute(&mut tx).await?;
    Ok(())
}

async fn service() -> TestService {
    TestService::start(routes![
        pay, crash, slow, read, limited, large, numbers, account, account_v2, hang, status
    ])
    .await
}

fn example(code: &str) -> Value {
    let pages = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
    let page = std::fs::read_to_string(pages.join(format!("{code}.md"))).expect("a page");
    let text = page
        .split_once("```json\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("an example")
        .0;
    serde_json::from_str(text).expect("JSON")
}

fn assert_matches_page(reply: &ClientResponse, code: &str) {
    assert_example(reply.problem(reply.status.as_u16(), code), code);
}

fn assert_example(mut received: Value, code: &str) {
    let mut shown = example(code);
    for member in ["request_id", "instance"] {
        shown[member] = Value::Null;
        received[member] = Value::Null;
    }
    assert_eq!(received, shown);
}

/// Sends these bytes, and returns the problem document.
async fn raw_response(service: &TestService, request: &str) -> Value {
    let mut raw = service.client.raw().await;
    raw.write(request).await;
    raw.end().await;
    let text = raw.response().await;
    serde_json::from_str(text.split_once("\r\n\r\n").expect("a head").1).expect("a document")
}

#[tokio::test]
async fn f03_clients_get_the_examples_of_the_problem_pages() {
    let service = service().await;
    let get = |path: &str| service.client.get(path).bearer(ALICE);
    let post = |key: &str| {
        service
            .client
            .post("/payments")
            .bearer(ALICE)
            .idempotency_key(key)
    };
    let good = r#"{"amount":7}"#;
    assert_eq!(post("used").json(good).send().await.status, 200);
    assert_eq!(get("/limited").send().await.status, 200);
    let calls: [(&str, ClientRequest); 22] = [
        (
            "IDEMPOTENCY_KEY_MISSING",
            service.client.post("/payments").bearer(ALICE).json(good),
        ),
        ("IDEMPOTENCY_KEY_INVALID", post("a,b").json(good)),
        (
            "IDEMPOTENCY_KEY_REUSED",
            post("used").json(r#"{"amount":8}"#),
        ),
        ("RATE_LIMITED", get("/limited")),
        ("INVALID_CURSOR", get("/numbers?cursor=x")),
        (
            "INVALID_PARAMETER",
            get("/payments/acc_01HZQK7P3WVXBN4Y9MRDTJC8E6"),
        ),
        ("VALIDATION_FAILED", post("v").json(r#"{"amount":"seven"}"#)),
        ("MALFORMED_JSON", post("m").json(r#"{"amount":7"#)),
        ("UNSUPPORTED_MEDIA_TYPE", post("u").body(good)),
        ("BODY_TOO_LARGE", post("b").json(" ".repeat(2_000))),
        ("BAD_REQUEST", get("/status/400")),
        ("REQUEST_TIMEOUT", get("/status/408")),
        (
            "UNAUTHENTICATED",
            service
                .client
                .get("/payments/pay_01HZQK7P3WVXBN4Y9MRDTJC8E6"),
        ),
        ("FORBIDDEN", get("/status/403")),
        ("NOT_FOUND", get("/nowhere")),
        ("METHOD_NOT_ALLOWED", service.client.post("/hang")),
        ("CONFLICT", get("/status/409")),
        ("PRECONDITION_FAILED", get("/status/412")),
        ("GONE", get("/status/410")),
        ("VERSION_GONE", get("/v1/accounts/7")),
        ("DEADLINE_EXCEEDED", get("/hang")),
        ("SERVICE_UNAVAILABLE", get("/status/503")),
    ];
    for (code, call) in calls {
        assert_matches_page(&call.send().await, code);
    }
    assert_matches_page(&get("/status/500").send().await, "INTERNAL");
}

#[tokio::test]
async fn f03_clients_get_the_examples_of_idempotency_states() {
    let service = service().await;
    let post = |path: &str| {
        service
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key("a")
            .send()
    };
    post("/large").await;
    assert_matches_page(&post("/large").await, "IDEMPOTENCY_RESPONSE_NOT_RETAINED");
    post("/crash").await;
    assert_matches_page(&post("/crash").await, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    tokio::join!(post("/slow"), async {
        service.app.until_held().await;
        assert_matches_page(&post("/slow").await, "IDEMPOTENCY_IN_FLIGHT");
        service.app.release();
    });
    service.records.set_broken(true);
    assert_matches_page(&post("/slow").await, "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn f03_clients_get_the_example_of_an_overloaded_service() {
    let service = TestService::start_with(routes![slow], |api| api.max_runs(1)).await;
    let post = |key: &str| {
        let request = service.client.post("/slow").bearer(ALICE);
        request.idempotency_key(key).send()
    };
    tokio::join!(post("a"), async {
        service.app.until_held().await;
        assert_matches_page(&post("b").await, "OVERLOADED");
        service.app.release();
    });
}

#[tokio::test]
async fn f03_clients_get_the_example_of_an_exceeded_quota() {
    let records = MemoryRecords::with_bounds(1, 1 << 20, Arc::new(TestClock::new()));
    let store = Store::new(Arc::new(MemoryLimits::new()), Arc::new(records));
    let service = TestService::start_with(routes![pay], |api| api.store(store)).await;
    let post = |key: &str| {
        let request = service.client.post("/payments").bearer(ALICE);
        request.idempotency_key(key).json(r#"{"amount":7}"#).send()
    };
    assert_eq!(post("first").await.status, 200);
    assert_matches_page(&post("second").await, "IDEMPOTENCY_QUOTA_EXCEEDED");
}

/// Starts a service whose store is a SQLite file.
async fn transactional_service(directory: &TempDir, time_limit: Duration) -> TestService {
    let file = directory.path().join("test.db");
    let pool = SqlitePool::connect_lazy_with(SqliteConnectOptions::new().filename(file));
    TestService::start_with(routes![held, waiting, counting], |api| {
        api.store(Store::sqlite(&pool))
            .transaction_timeout(time_limit)
    })
    .await
}

#[tokio::test]
async fn f03_clients_get_the_example_of_an_exhausted_pool() {
    let directory = tempfile::tempdir().expect("a directory");
    let service = transactional_service(&directory, Duration::from_secs(5)).await;
    let put = |path: &str| {
        let request = service.client.request(http::Method::PUT, path);
        request.bearer(ALICE).send()
    };
    let (held, ()) = tokio::join!(put("/held"), async {
        service.app.until_held().await;
        assert_matches_page(&put("/waiting").await, "POOL_EXHAUSTED");
        service.app.release();
    });
    assert_eq!(held.status, 200);
}

#[tokio::test]
async fn f03_clients_get_the_example_of_a_conflict_of_transactions() {
    let directory = tempfile::tempdir().expect("a directory");
    let service = transactional_service(&directory, Duration::from_millis(50)).await;
    let post = service.client.post("/counting").bearer(ALICE);
    let response = post.idempotency_key("a").send().await;
    assert_matches_page(&response, "TRANSACTION_CONFLICT");
}

#[tokio::test]
async fn f03_clients_get_the_example_of_unavailable_authentication() {
    let service = TestService::start_with(routes![read], |api| api.auth(Sessions)).await;
    let request = service
        .client
        .get("/payments/pay_01HZQK7P3WVXBN4Y9MRDTJC8E6");
    let response = request.header("cookie", "session=down").send().await;
    assert_matches_page(&response, "AUTHENTICATION_UNAVAILABLE");
}

#[tokio::test]
async fn f03_clients_get_the_example_of_an_overload() {
    let api = |api: Api<App>| api.body_memory(64_000);
    let service = TestService::start_with(routes![upload], api).await;
    let upload = |key: &str| {
        let post = service.client.post("/uploads").bearer(ALICE);
        post.idempotency_key(key).body("x".repeat(60_000)).send()
    };
    tokio::join!(upload("first"), async {
        service.app.until_held().await;
        assert_matches_page(&upload("second").await, "OVERLOADED");
        service.app.release();
    });
}

#[tokio::test]
async fn f03_clients_get_the_examples_of_invalid_requests() {
    let service = service().await;
    let (target, long) = ("x".repeat(20_000), "x".repeat(40_000));
    for (request, code) in [
        (
            format!("GET /{target} HTTP/1.1\r\nhost: x\r\n\r\n"),
            "URI_TOO_LONG",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("{PAY}authorization: Bearer {ALICE}\r\ncontent-length: 9\r\n\r\n{{"),
            "BODY_INCOMPLETE",
        ),
    ] {
        assert_example(raw_response(&service, &request).await, code);
    }
}

const PAY: &str = "POST /payments HTTP/1.1\r\nhost: x\r\nidempotency-key: a\r\ncontent-type: application/json\r\n";

/// Checks that this file compares the example of every page.
#[test]
fn f03_the_example_of_every_page_is_compared() {
    let source = include_str!("problem_pages.rs");
    let pages = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
    for page in std::fs::read_dir(pages).expect("pages").flatten() {
        let name = page.file_name().into_string().expect("UTF-8");
        let code = name.strip_suffix(".md").filter(|code| *code != "README");
        assert!(
            code.is_none_or(|code| source.contains(&format!("\"{code}\""))),
            "{name}"
        );
    }
}
