//! Handlers that use their transaction in a wrong way.

use core::mem;

use aplomb::transaction::TxClosed;

use super::*;

/// Writes in a task that outlives the handler.
#[endpoint(post = "/spawns", idempotent)]
async fn spawns(State(app): State<App>, mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "first").await?;
    tokio::spawn(async move {
        app.hold().await;
        let error = write(&mut tx, "late")
            .await
            .expect_err("the end of the transaction");
        if let sqlx::Error::Io(error) = &error
            && let Some(error) = error.get_ref()
            && error.is::<TxClosed>()
        {
            app.late.notify_one();
        }
    });
    Ok("spawned")
}

/// Leaks the transaction.
#[endpoint(post = "/forgets", idempotent)]
async fn forgets(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "forgotten").await?;
    mem::forget(tx);
    Ok("forgotten")
}

/// Commits with a statement.
#[endpoint(post = "/commits", idempotent)]
async fn commits(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "committed").await?;
    let _ = sqlx::raw_sql("COMMIT").execute(&mut tx).await;
    Ok("committed")
}

/// Rolls back with a statement.
#[endpoint(post = "/rolls-back", idempotent)]
async fn rolls_back(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "rolled back").await?;
    let _ = sqlx::raw_sql("ROLLBACK").execute(&mut tx).await;
    Ok("rolled back")
}

/// Leaks a savepoint.
#[endpoint(post = "/forgets-savepoint", idempotent)]
async fn forgets_savepoint(mut tx: Tx<Db>) -> Result<&'static str> {
    let savepoint = tx.begin_savepoint().await?;
    mem::forget(savepoint);
    write(&mut tx, "after").await?;
    Ok("forgotten")
}

/// Ignores the error of a statement.
#[endpoint(post = "/ignores", idempotent)]
async fn ignores(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "one").await?;
    let _ = write(&mut tx, "one").await;
    Ok("ignored")
}

/// Ignores the error of a statement in a savepoint, which is rolled back or dropped.
#[endpoint(post = "/savepoints/{end}", idempotent)]
async fn savepoints(mut tx: Tx<Db>, Path(end): Path<String>) -> Result<&'static str> {
    write(&mut tx, "one").await?;
    let mut savepoint = tx.begin_savepoint().await?;
    let insert = "INSERT INTO effect (name) VALUES ($1)";
    sqlx::query(insert)
        .bind("inside")
        .execute(&mut savepoint)
        .await?;
    if end == "commit" {
        savepoint.commit().await?;
    } else {
        let error = sqlx::query(insert)
            .bind("one")
            .execute(&mut savepoint)
            .await;
        assert!(error.is_err());
        if end == "rollback" {
            savepoint.rollback().await?;
        } else {
            drop(savepoint);
        }
    }
    write(&mut tx, "two").await?;
    Ok("saved")
}

/// Ignores an error in an outer savepoint, and commits an inner one.
#[endpoint(post = "/nested", idempotent)]
async fn nested(mut tx: Tx<Db>) -> Result<&'static str> {
    let mut outer = tx.begin_savepoint().await?;
    let mut inner = outer.begin_savepoint().await?;
    sqlx::query("INSERT INTO effect (name) VALUES ('inner')")
        .execute(&mut inner)
        .await?;
    inner.commit().await?;
    outer.commit().await?;
    Ok("nested")
}

/// Reads rows as a stream, and drops the stream before its end.
#[endpoint(post = "/drops-stream", idempotent)]
async fn drops_stream(mut tx: Tx<Db>) -> Result<&'static str> {
    use futures_util::StreamExt;
    use sqlx::Executor;

    for name in ["a", "b", "c"] {
        write(&mut tx, name).await?;
    }
    let mut rows = (&mut tx).fetch("SELECT name FROM effect");
    assert!(rows.next().await.is_some_and(|row| row.is_ok()));
    drop(rows);
    let first: Option<String> = sqlx::query_scalar("SELECT name FROM effect ORDER BY name")
        .fetch_optional(&mut tx)
        .await?;
    assert_eq!(first.as_deref(), Some("a"));
    write(&mut tx, "d").await?;
    Ok("dropped")
}

async fn service() -> Service {
    Service::start(routes![
        spawns,
        forgets,
        commits,
        rolls_back,
        forgets_savepoint,
        ignores,
        savepoints,
        nested,
        drops_stream,
    ])
    .await
}

#[tokio::test]
async fn t09_a_transaction_that_outlives_its_handler_is_rolled_back() {
    let service = service().await;
    service.send("/spawns").await.problem(500, "INTERNAL");
    assert!(service.effects().await.is_empty());
    assert_eq!(service.records().await, 0);
    service.app.released.notify_one();
    service.app.late.notified().await;
    assert!(service.effects().await.is_empty());
}

#[tokio::test]
async fn t09_a_leaked_transaction_is_rolled_back() {
    let service = service().await;
    service.send("/forgets").await.problem(500, "INTERNAL");
    assert!(service.effects().await.is_empty());
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn t04_a_commit_of_the_handler_is_refused_or_makes_the_record_unknown() {
    let service = service().await;
    let response = service.send("/commits").await;
    if super::super::HANDLER_CAN_COMMIT {
        for response in [response, service.send("/commits").await] {
            response.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
        }
        assert_eq!(service.effects().await, ["committed"]);
    } else {
        response.problem(500, "INTERNAL");
        assert!(service.effects().await.is_empty());
        assert_eq!(service.records().await, 0);
    }
}

#[tokio::test]
async fn t10_a_rollback_of_the_handler_is_not_a_success() {
    let service = service().await;
    let response = service.send("/rolls-back").await;
    let code = response.json()["code"].clone();
    assert_eq!(response.status, 500, "{code}");
    assert!(service.effects().await.is_empty());
}

#[tokio::test]
async fn t10_a_forgotten_savepoint_is_not_committed() {
    let service = service().await;
    service
        .send("/forgets-savepoint")
        .await
        .problem(500, "INTERNAL");
    assert!(service.effects().await.is_empty());
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn t10_an_ignored_error_is_not_committed() {
    let service = service().await;
    service.send("/ignores").await.problem(500, "INTERNAL");
    assert!(service.effects().await.is_empty());
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn t10_an_error_in_a_savepoint_that_is_rolled_back_is_no_error() {
    let service = service().await;
    for (end, effects) in [
        ("commit", &["inside", "one", "two"][..]),
        ("rollback", &["one", "two"]),
        ("drop", &["one", "two"]),
    ] {
        let response = service
            .post(&format!("/savepoints/{end}"), end)
            .send()
            .await;
        assert_eq!(response.status, 200, "{end}: {}", response.text());
        assert_eq!(service.effects().await, effects, "{end}");
        sqlx::query("DELETE FROM effect")
            .execute(&service.database.pool)
            .await
            .expect("an empty table");
    }
}

#[tokio::test]
async fn t10_savepoints_can_be_nested() {
    let service = service().await;
    assert_eq!(service.send("/nested").await.status, 200);
    assert_eq!(service.effects().await, ["inner"]);
}

#[tokio::test]
async fn a_stream_of_rows_that_is_dropped_does_not_spoil_the_transaction() {
    let service = service().await;
    assert_eq!(service.send("/drops-stream").await.status, 200);
    assert_eq!(service.effects().await, ["a", "b", "c", "d"]);
}
