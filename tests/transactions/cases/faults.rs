//! Transactions that fail without a fault of the handler.

use aplomb::testing::TestLog;
use tokio::time::sleep;

use super::*;

/// Waits, and then writes.
#[endpoint(post = "/held", idempotent)]
async fn held(State(app): State<App>, mut tx: Tx<Db>) -> Result<&'static str> {
    app.hold().await;
    write(&mut tx, "held").await?;
    Ok("held")
}

/// Writes, and waits with the transaction open.
#[endpoint(post = "/open", idempotent, timeout = "1s")]
async fn open(State(app): State<App>, mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "open").await?;
    app.hold().await;
    Ok("open")
}

/// Writes without a key.
#[endpoint(put = "/unkeyed", timeout = "1s")]
async fn unkeyed(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "unkeyed").await?;
    Ok("written")
}

/// Writes, and waits for longer than a transaction may last.
#[endpoint(post = "/idle", idempotent)]
async fn idle(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "idle").await?;
    sleep(TIME_LIMIT * 3).await;
    Ok("idle")
}

/// Writes, and waits for longer than a transaction may last. A later statement fails.
#[endpoint(post = "/idle-then-writes", idempotent)]
async fn idle_then_writes(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "idle").await?;
    sleep(TIME_LIMIT * 3).await;
    write(&mut tx, "late").await?;
    Ok("late")
}

/// Executes a statement that takes longer than a transaction may last.
#[endpoint(post = "/slow", idempotent)]
async fn slow(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "slow").await?;
    sqlx::query(super::super::SLOW).execute(&mut tx).await?;
    Ok("slow")
}

/// Uses the pool while its transaction is open.
#[endpoint(post = "/two-connections", idempotent)]
async fn two_connections(State(app): State<App>, mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "in the transaction").await?;
    sqlx::query("INSERT INTO effect (name) VALUES ('outside')")
        .execute(app.pool())
        .await?;
    Ok("written")
}

fn limited(api: Api<App>) -> Api<App> {
    api.transaction_timeout(TIME_LIMIT)
}

#[tokio::test]
async fn t05_a_run_that_lost_its_record_rolls_back() {
    let service = Service::start(routes![held]).await;
    let first = tokio::spawn(service.post("/held", "k").send());
    service.app.entered.notified().await;
    let (records, token) = (super::super::RECORDS, super::super::OTHER_TOKEN);
    let other = format!("UPDATE {records} SET token = {token}");
    sqlx::query(AssertSqlSafe(other))
        .execute(&service.database.pool)
        .await
        .expect("another token");
    service.app.released.notify_one();
    let first = first.await.expect("a response");
    first.problem(503, "TRANSACTION_CONFLICT");
    assert!(service.effects().await.is_empty());
    // The record still belongs to the other run.
    assert_eq!(service.records().await, 1);
}

#[tokio::test]
async fn t05_a_run_whose_record_is_gone_rolls_back() {
    let service = Service::start(routes![held]).await;
    let first = tokio::spawn(service.post("/held", "k").send());
    service.app.entered.notified().await;
    let gone = format!("DELETE FROM {}", super::super::RECORDS);
    sqlx::query(AssertSqlSafe(gone))
        .execute(&service.database.pool)
        .await
        .expect("no records");
    service.app.released.notify_one();
    let first = first.await.expect("a response");
    first.problem(503, "TRANSACTION_CONFLICT");
    assert!(service.effects().await.is_empty());
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn t08_a_transaction_that_takes_too_long_is_rolled_back() {
    let service = Service::start_with(routes![idle, idle_then_writes, slow], limited).await;
    for path in ["/idle", "/idle-then-writes", "/slow"] {
        let response = service.send(path).await;
        let problem = response.problem(503, "TRANSACTION_CONFLICT");
        assert_eq!(problem["retryable"], true, "{path}");
        assert!(response.header("retry-after").is_some(), "{path}");
        assert!(service.effects().await.is_empty(), "{path}");
        assert_eq!(service.records().await, 0, "{path}");
    }
}

#[tokio::test]
async fn t08_the_response_deadline_does_not_end_a_transaction() {
    let service = Service::start(routes![open]).await;
    let first = tokio::spawn(service.post("/open", "k").send());
    service.app.entered.notified().await;
    first
        .await
        .expect("a response")
        .problem(504, "DEADLINE_EXCEEDED");
    service.app.released.notify_one();
    aplomb::testing::eventually("the stored response", async || {
        service.send("/open").await.replayed()
    })
    .await;
    assert_eq!(service.effects().await, ["open"]);
}

#[tokio::test]
async fn t07_without_a_free_connection_a_request_is_a_503() {
    let database = TestDatabase::with_connections(1).await;
    let mut pools = None;
    let service = Service::start_on(database, routes![open, unkeyed], |api| {
        pools = Some(api.pools());
        api
    })
    .await;
    let pools = pools.expect("the API was adjusted");
    let first = tokio::spawn(service.post("/open", "first").send());
    service.app.entered.notified().await;
    let second = service.put("/unkeyed").bearer(ALICE).send().await;
    let problem = second.problem(503, "POOL_EXHAUSTED");
    assert_eq!(problem["retryable"], true);
    let status = pools.status();
    let names: Vec<_> = status.iter().map(|pool| pool.name).collect();
    assert_eq!(names, super::super::POOLS);
    let work = status.iter().find(|pool| pool.name == "work");
    let work = work.expect("the pool of the transactions");
    assert_eq!(
        (work.max, work.in_use(), work.waiting),
        (1, 1, 0),
        "{work:?}"
    );
    assert_eq!((work.acquired, work.exhausted), (1, 1), "{work:?}");
    service.app.released.notify_one();
    first.await.expect("a response");
    aplomb::testing::eventually("a free connection", async || {
        let second = service.put("/unkeyed").bearer(ALICE);
        second.send().await.status == 200
    })
    .await;
    assert_eq!(service.effects().await, ["open", "unkeyed"]);
}

#[tokio::test]
async fn t08_a_handler_that_waits_for_its_own_transaction_is_released() {
    let database = TestDatabase::with_connections(1).await;
    let service = Service::start_on(database, routes![two_connections], limited).await;
    let response = service.send("/two-connections").await;
    response.problem(503, "TRANSACTION_CONFLICT");
    assert_eq!(service.effects().await, ["outside"]);
}

#[tokio::test]
async fn a_long_wait_for_a_connection_is_logged() {
    let log = TestLog::of("store::pools");
    let _listening = log.listen();
    let database = TestDatabase::with_connections(1).await;
    let service = Service::start_on(database, routes![open, unkeyed], |api| api).await;
    let first = tokio::spawn(service.post("/open", "first").send());
    service.app.entered.notified().await;
    let second = tokio::spawn(service.put("/unkeyed").bearer(ALICE).send());
    sleep(Duration::from_millis(200)).await;
    service.app.released.notify_one();
    first.await.expect("a response");
    assert_eq!(second.await.expect("a response").status, 200);
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].field("pool"), Some("work"));
    let waited = lines[0]
        .field("milliseconds")
        .and_then(|waited| waited.parse().ok());
    assert!(waited.is_some_and(|waited: u64| waited >= 100), "{lines:?}");
}
