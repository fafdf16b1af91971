//! Failures of a PostgreSQL server and of the connections to it.

use core::time::Duration;
use std::sync::LazyLock;

use aplomb::Result;
use aplomb::prelude::*;
use aplomb::testing::{PgBouncer, PostgresServer, Proxy, eventually};
use tokio::sync::Barrier;
use tokio::time::sleep;

use super::cases::{App, Service, write};
use super::{Db, TestDatabase};

/// Writes an effect.
#[endpoint(post = "/write", idempotent)]
async fn write_effect(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "effect").await?;
    Ok("written")
}

/// Writes an effect, and waits with the transaction open.
#[endpoint(post = "/held", idempotent)]
async fn held(State(app): State<App>, mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "effect").await?;
    app.hold().await;
    Ok("held")
}

/// Lets the two requests of one test wait for each other.
static LOCKED: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));
static READ: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));

/// Locks two rows, and waits between them until another request has locked one.
#[endpoint(post = "/locks/{first}/{second}", idempotent)]
async fn locks(
    mut tx: Tx<Db>,
    Path((first, second)): Path<(String, String)>,
) -> Result<&'static str> {
    let lock = "UPDATE item SET count = count + 1 WHERE name = $1";
    sqlx::query(lock).bind(first).execute(&mut tx).await?;
    LOCKED.wait().await;
    sqlx::query(lock).bind(second).execute(&mut tx).await?;
    Ok("locked")
}

/// Reads and writes in a serializable transaction.
#[endpoint(post = "/serializable/{name}", idempotent)]
async fn serializable(mut tx: Tx<Db>, Path(name): Path<String>) -> Result<&'static str> {
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        .execute(&mut tx)
        .await?;
    let sum: i64 = sqlx::query_scalar("SELECT coalesce(sum(count), 0)::bigint FROM item")
        .fetch_one(&mut tx)
        .await?;
    READ.wait().await;
    sqlx::query("INSERT INTO item (name, count) VALUES ($1, $2)")
        .bind(name)
        .bind(sum + 1)
        .execute(&mut tx)
        .await?;
    Ok("inserted")
}

/// Takes a snapshot, and writes later.
#[endpoint(post = "/snapshot/{number}", idempotent)]
async fn snapshot(mut tx: Tx<Db>, Path(number): Path<u32>) -> Result<&'static str> {
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut tx)
        .await?;
    let _: i64 = sqlx::query_scalar("SELECT count(*) FROM effect")
        .fetch_one(&mut tx)
        .await?;
    sleep(Duration::from_millis(200)).await;
    write(&mut tx, &number.to_string()).await?;
    Ok("written")
}

/// Writes an effect with this number, in three statements with parameters.
#[endpoint(post = "/numbered/{number}", idempotent)]
async fn numbered(mut tx: Tx<Db>, Path(number): Path<i64>) -> Result<String> {
    let sum: i64 = sqlx::query_scalar("SELECT $1::bigint + 1")
        .bind(number)
        .fetch_one(&mut tx)
        .await?;
    let text: String = sqlx::query_scalar("SELECT $1::text || $2::text")
        .bind("n")
        .bind(number.to_string())
        .fetch_one(&mut tx)
        .await?;
    write(&mut tx, &text).await?;
    Ok(sum.to_string())
}

fn routes() -> Routes<App> {
    routes![write_effect, held, locks, serializable, snapshot, numbered]
}

/// Makes each commit of an effect take this long.
async fn slow_commits(service: &Service, seconds: f32) {
    let statements = format!(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END$$; \
         CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION wait()"
    );
    service.database.server.execute(&statements).await;
}

/// Waits until a session executes `COMMIT`.
async fn until_committing(service: &Service) {
    let committing = "SELECT count(*) FROM pg_stat_activity \
        WHERE state = 'active' AND query = 'COMMIT'";
    eventually("a session that commits", async || {
        service.database.server.query(committing).await == "1"
    })
    .await;
}

async fn create_items(service: &Service) {
    let statements = "CREATE TABLE item (name text PRIMARY KEY, count bigint NOT NULL); \
        INSERT INTO item VALUES ('a', 0), ('b', 0)";
    service.database.server.execute(statements).await;
}

/// Repeats a request until it has another status than 409 or 503.
async fn settle(service: &Service, path: &str, key: &str) -> aplomb::testing::ClientResponse {
    for _ in 0..200 {
        let response = service.post(path, key).send().await;
        if response.status != 503 && response.status != 409 {
            return response;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} did not end within ten seconds");
}

#[tokio::test]
async fn t06_a_commit_whose_reply_is_lost_is_found_by_the_retry() {
    let server = PostgresServer::start();
    let proxy = Proxy::start(server.address()).await;
    let options = server.options("postgres").port(proxy.address().port());
    let database = TestDatabase::through(server, options, 5).await;
    let limit = Duration::from_secs(2);
    let service = Service::start_on(database, routes(), |api| api.transaction_timeout(limit)).await;
    slow_commits(&service, 0.5).await;
    let first = tokio::spawn(service.post("/write", "k").send());
    until_committing(&service).await;
    proxy.swallow_replies(true);
    let effects = "SELECT count(*) FROM effect";
    eventually("the commit", async || {
        service.database.server.query(effects).await == "1"
    })
    .await;
    sleep(limit).await;
    proxy.swallow_replies(false);
    first
        .await
        .expect("a response")
        .problem(503, "SERVICE_UNAVAILABLE");
    let retry = settle(&service, "/write", "k").await;
    assert!(retry.status == 200 && retry.replayed());
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t06_a_session_that_ends_during_the_commit_runs_again() {
    let service = Service::start(routes()).await;
    slow_commits(&service, 1.0).await;
    let first = tokio::spawn(service.post("/write", "k").send());
    until_committing(&service).await;
    service.database.server.terminate_backends().await;
    let first = first.await.expect("a response");
    assert_eq!(first.status, 503, "{}", first.text());
    assert!(service.effects().await.is_empty());
    let retry = settle(&service, "/write", "k").await;
    assert!(retry.status == 200 && !retry.replayed());
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t07_a_deadlock_is_a_503_and_its_retry_succeeds() {
    let service = Service::start(routes()).await;
    create_items(&service).await;
    let one = tokio::spawn(service.post("/locks/a/b", "one").send());
    let other = tokio::spawn(service.post("/locks/b/a", "other").send());
    let responses = [
        one.await.expect("a response"),
        other.await.expect("a response"),
    ];
    let mut statuses = responses
        .each_ref()
        .map(|response| response.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    let failed = responses.iter().find(|response| response.status == 503);
    failed.expect("a 503").problem(503, "TRANSACTION_CONFLICT");
    let counts = "SELECT string_agg(count::text, ',') FROM item";
    assert_eq!(service.database.server.query(counts).await, "1,1");
}

#[tokio::test]
async fn t07_a_serialization_failure_is_a_503() {
    let service = Service::start(routes()).await;
    create_items(&service).await;
    let one = tokio::spawn(service.post("/serializable/c", "one").send());
    let other = tokio::spawn(service.post("/serializable/d", "other").send());
    let responses = [
        one.await.expect("a response"),
        other.await.expect("a response"),
    ];
    let failed: Vec<_> = responses
        .iter()
        .filter(|response| response.status == 503)
        .collect();
    assert_eq!(failed.len(), 1, "{responses:?}");
    failed[0].problem(503, "TRANSACTION_CONFLICT");
    let count = "SELECT count(*) FROM item";
    assert_eq!(service.database.server.query(count).await, "3");
}

#[tokio::test]
async fn t07_the_renewal_of_leases_does_not_disturb_a_snapshot() {
    // Leases are renewed every 300 ms, and the transactions last 200 ms.
    let lease = Duration::from_millis(900);
    let service = Service::start_with(routes(), |api| api.lease(lease)).await;
    for number in 0..8 {
        let path = format!("/snapshot/{number}");
        let response = service.post(&path, &number.to_string()).send().await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(service.effects().await.len(), 8);
}

#[tokio::test]
async fn t07_a_terminated_session_is_a_503_and_its_retry_succeeds() {
    let service = Service::start(routes()).await;
    let first = tokio::spawn(service.post("/held", "k").send());
    service.app.entered.notified().await;
    service.database.server.terminate_backends().await;
    service.app.released.notify_one();
    first
        .await
        .expect("a response")
        .problem(503, "TRANSACTION_CONFLICT");
    assert!(service.effects().await.is_empty());
    service.app.released.notify_one();
    assert_eq!(settle(&service, "/held", "k").await.status, 200);
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t04_a_server_that_is_killed_has_lost_only_the_open_transaction() {
    let service = Service::start(routes()).await;
    assert_eq!(service.post("/write", "before").send().await.status, 200);
    service
        .database
        .server
        .execute("UPDATE effect SET name = 'before'")
        .await;
    let first = tokio::spawn(service.post("/held", "k").send());
    service.app.entered.notified().await;
    service.database.server.kill();
    service.app.released.notify_one();
    assert_eq!(first.await.expect("a response").status, 503);
    service.database.server.restart();
    service.app.released.notify_one();
    assert_eq!(settle(&service, "/held", "k").await.status, 200);
    let before = settle(&service, "/write", "before").await;
    assert!(before.replayed());
    assert_eq!(service.effects().await, ["before", "effect"]);
}

#[tokio::test]
async fn t08_a_paused_server_does_not_hold_a_request() {
    let limit = Duration::from_secs(1);
    let service = Service::start_with(routes(), |api| api.transaction_timeout(limit)).await;
    assert_eq!(service.post("/write", "before").send().await.status, 200);
    service.database.server.execute("DELETE FROM effect").await;
    let first = tokio::spawn(service.post("/held", "k").send());
    service.app.entered.notified().await;
    service.database.server.pause();
    service.app.released.notify_one();
    let first = tokio::time::timeout(Duration::from_secs(15), first).await;
    let first = first.expect("a response within 15 s").expect("a response");
    assert_eq!(first.status, 503, "{}", first.text());
    service.database.server.resume();
    service.app.released.notify_one();
    assert_eq!(settle(&service, "/held", "k").await.status, 200);
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn transactions_work_through_a_pgbouncer_that_pools_transactions() {
    let server = PostgresServer::start();
    let bouncer = PgBouncer::start(&server, 2);
    // PgBouncer accepts only few settings at the start of a connection.
    let options = server.options("postgres").extra_float_digits(None);
    let options = options.port(bouncer.address().port());
    let database = TestDatabase {
        pool: sqlx::postgres::PgPoolOptions::new()
            .max_connections(16)
            .connect_lazy_with(options),
        server,
    };
    database
        .server
        .execute("CREATE TABLE effect (name text NOT NULL UNIQUE)")
        .await;
    let app = App::default();
    let api = Api::new("test", routes())
        .store(Store::postgres(&database.pool).with_pgbouncer())
        .auth(ApiKeys::parse("alice:sk_test_alice").expect("a key"));
    let server = aplomb::testing::TestServer::start(api, app)
        .await
        .expect("a valid API");
    let client = server.client();
    let requests: Vec<_> = (0..64)
        .map(|number: i64| {
            let request = client.post(&format!("/numbered/{number}"));
            let request = request.bearer(super::cases::ALICE);
            let request = request.idempotency_key(&number.to_string());
            tokio::spawn(async move { (number, request.send().await) })
        })
        .collect();
    for request in requests {
        let (number, response) = request.await.expect("a response");
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.text(), (number + 1).to_string());
    }
    let count = database.server.query("SELECT count(*) FROM effect").await;
    assert_eq!(count, "64");
}

/// Writes into another database than the one of the store.
#[endpoint(post = "/other", idempotent)]
async fn other_database(_tx: Tx<sqlx::Sqlite>) {}

#[tokio::test]
async fn t01_a_transaction_in_another_database_than_the_store_is_a_start_error() {
    let database = TestDatabase::new().await;
    let api: Api<()> = Api::new("test", routes![other_database])
        .store(Store::postgres(&database.pool))
        .auth(ApiKeys::parse("alice:sk_test_alice").expect("a key"));
    let error = api.into_router(()).await.expect_err("another database");
    let error = error.to_string();
    assert!(
        error.contains("`other_database` (POST /other) takes a `Tx<Sqlite>`, but the store is in another database"),
        "{error}"
    );
}

#[tokio::test]
async fn t04_a_failover_loses_effects_and_records_together() {
    let service = Service::start(routes()).await;
    let primary = &service.database.server;
    let replica = primary.start_replica();
    assert_eq!(service.post("/numbered/1", "1").send().await.status, 200);
    let count = "SELECT count(*) FROM effect";
    eventually("the effect on the replica", async || {
        replica.query(count).await == "1"
    })
    .await;
    // The replica gets no more data, and the primary does not wait for it.
    replica.kill();
    assert_eq!(service.post("/numbered/2", "2").send().await.status, 200);
    primary.kill();
    replica.restart();
    replica.promote().await;
    assert_eq!(replica.query(count).await, "1");

    // An instance on the new primary: the first effect is replayed, and the second one, which was
    // lost with its record, happens again.
    let options = replica.options("postgres");
    let database = TestDatabase::through(replica, options, 5).await;
    let other = Service::start_on(database, routes(), |api| api).await;
    let first = other.post("/numbered/1", "1").send().await;
    assert!(first.status == 200 && first.replayed());
    let second = other.post("/numbered/2", "2").send().await;
    assert!(second.status == 200 && !second.replayed());
    assert_eq!(other.effects().await, ["n1", "n2"]);
}

/// Commits with a statement, and then makes another mistake.
#[endpoint(post = "/commits-then/{mistake}", idempotent)]
async fn commits_then(mut tx: Tx<Db>, Path(mistake): Path<String>) -> Result<&'static str> {
    write(&mut tx, "committed").await?;
    sqlx::raw_sql("COMMIT").execute(&mut tx).await?;
    match &*mistake {
        "ignores" => drop(write(&mut tx, "committed").await),
        "idles" => sleep(Duration::from_millis(900)).await,
        "leaks" => core::mem::forget(tx),
        _ => return Err(Problem::new(&aplomb::problem::registry::CONFLICT)),
    }
    Ok("committed")
}

#[tokio::test]
async fn t04_a_handler_that_commits_and_then_fails_has_an_unknown_outcome() {
    let limit = Duration::from_millis(300);
    let service =
        Service::start_with(routes![commits_then], |api| api.transaction_timeout(limit)).await;
    for mistake in ["ignores", "idles", "leaks", "conflicts"] {
        for _ in 0..2 {
            let path = format!("/commits-then/{mistake}");
            let response = service.post(&path, mistake).send().await;
            response.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
        }
        assert_eq!(service.effects().await, ["committed"], "{mistake}");
        service.database.server.execute("DELETE FROM effect").await;
    }
}
