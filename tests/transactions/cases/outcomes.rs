//! The end of a transaction for each response.

use aplomb::policies::idempotency::EncryptionKeys;
use aplomb::testing::eventually;
use http::StatusCode;

use super::*;

#[derive(Debug, thiserror::Error, ApiError)]
enum OutcomeError {
    #[error("not there")]
    #[problem(not_found)]
    NotThere,
    #[error("try again")]
    #[problem(dependency, code = "TRY_AGAIN", effects = none)]
    TryAgain,
    #[error("broken")]
    #[problem(internal)]
    Broken(#[from] sqlx::Error),
}

/// Writes an effect, and returns the requested status.
#[endpoint(post = "/write/{status}", idempotent)]
async fn write_then(
    mut tx: Tx<Db>,
    Path(status): Path<u16>,
) -> Result<(StatusCode, &'static str), OutcomeError> {
    write(&mut tx, "effect").await?;
    match status {
        404 => Err(OutcomeError::NotThere),
        503 => Err(OutcomeError::TryAgain),
        599 => panic!("as requested"),
        status => Ok((
            StatusCode::from_u16(status).expect("a status"),
            "secret tea",
        )),
    }
}

/// Executes no statement.
#[endpoint(post = "/unused", idempotent)]
async fn unused(_tx: Tx<Db>) -> &'static str {
    "unused"
}

/// Writes an effect. The record becomes UNKNOWN after an error.
#[endpoint(post = "/unknown/{status}", idempotent(on_crash = unknown))]
async fn unknown(mut tx: Tx<Db>, Path(status): Path<u16>) -> Result<StatusCode, OutcomeError> {
    write(&mut tx, "effect").await?;
    Ok(StatusCode::from_u16(status).expect("a status"))
}

/// Writes an effect without a key.
#[endpoint(put = "/unkeyed/{status}")]
async fn unkeyed(mut tx: Tx<Db>, Path(status): Path<u16>) -> Result<StatusCode, OutcomeError> {
    write(&mut tx, "effect").await?;
    Ok(StatusCode::from_u16(status).expect("a status"))
}

/// Writes an effect, and waits.
#[endpoint(put = "/held")]
async fn held(State(app): State<App>, mut tx: Tx<Db>) -> Result<StatusCode, OutcomeError> {
    write(&mut tx, "effect").await?;
    app.hold().await;
    Ok(StatusCode::OK)
}

/// Writes an effect, with the connection itself.
#[endpoint(post = "/connection", idempotent)]
async fn connection(mut tx: Tx<Db>) -> Result<StatusCode, OutcomeError> {
    let mut connection = tx.connection().await?;
    sqlx::query("INSERT INTO effect (name) VALUES ('connection')")
        .execute(&mut *connection)
        .await?;
    Ok(StatusCode::CREATED)
}

async fn service() -> Service {
    Service::start(routes![
        write_then, unused, unknown, unkeyed, held, connection
    ])
    .await
}

#[tokio::test]
async fn t02_effects_and_record_are_committed_together() {
    let service = service().await;
    assert_eq!(service.send("/write/201").await.status, 201);
    assert_eq!(service.effects().await, ["effect"]);
    let retry = service.send("/write/201").await;
    assert!(retry.status == 201 && retry.replayed());
    assert_eq!(retry.text(), "secret tea");
    assert_eq!(
        (service.effects().await.len(), service.records().await),
        (1, 1)
    );
}

#[tokio::test]
async fn t02_a_redirect_is_committed() {
    let service = service().await;
    assert_eq!(service.send("/write/303").await.status, 303);
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t03_a_4xx_rolls_back_and_is_stored() {
    let service = service().await;
    service.send("/write/404").await.problem(404, "NOT_THERE");
    assert!(service.effects().await.is_empty());
    assert!(service.send("/write/404").await.replayed());
    assert_eq!(service.records().await, 1);
}

#[tokio::test]
async fn t03_an_error_without_effects_rolls_back_and_frees_the_key() {
    let service = service().await;
    for _ in 0..2 {
        let response = service.send("/write/503").await;
        response.problem(503, "TRY_AGAIN");
        assert!(!response.replayed());
    }
    assert!(service.effects().await.is_empty());
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn t03_a_5xx_or_a_panic_rolls_back_and_frees_the_key() {
    let service = service().await;
    for status in [500, 502, 599] {
        let path = format!("/write/{status}");
        let response = service.send(&path).await;
        assert!(response.status.is_server_error(), "{status}");
        assert!(service.effects().await.is_empty(), "{status}");
        assert_eq!(service.records().await, 0, "{status}");
    }
    assert_eq!(service.send("/write/201").await.status, 201);
}

#[tokio::test]
async fn t04_with_on_crash_unknown_an_error_leaves_an_unknown_record() {
    let service = service().await;
    let response = service.send("/unknown/500").await;
    assert_eq!(response.status, 500);
    assert!(service.effects().await.is_empty());
    let retry = service.send("/unknown/500").await;
    retry.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(
        service.post("/unknown/201", "other").send().await.status,
        201
    );
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t01_a_handler_without_statements_has_no_transaction() {
    let service = service().await;
    assert_eq!(service.send("/unused").await.text(), "unused");
    assert!(service.send("/unused").await.replayed());
}

#[tokio::test]
async fn t12_without_a_key_the_same_rules_decide() {
    let service = service().await;
    let put = |path: &str| service.put(path).bearer(ALICE);
    for status in ["404", "500"] {
        put(&format!("/unkeyed/{status}")).send().await;
        assert!(service.effects().await.is_empty(), "{status}");
    }
    assert_eq!(put("/unkeyed/204").send().await.status, 204);
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t12_without_a_key_a_client_that_leaves_rolls_back() {
    let service = service().await;
    let request = service.put("/held").bearer(ALICE);
    let request = tokio::spawn(request.send());
    service.app.entered.notified().await;
    request.abort();
    // The connection is free when the next transaction can begin.
    eventually("the next transaction", async || {
        let put = service.put("/unkeyed/204").bearer(ALICE);
        put.send().await.status == 204
    })
    .await;
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t02_statements_on_the_connection_are_a_part_of_the_transaction() {
    let service = service().await;
    assert_eq!(service.send("/connection").await.status, 201);
    assert_eq!(service.effects().await, ["connection"]);
}

#[tokio::test]
async fn a26_a_response_that_a_transaction_stores_is_encrypted() {
    let keys = EncryptionKeys::new("test", [7; 32]).expect("a key");
    let routes = routes![write_then];
    let service = Service::start_with(routes, |api| api.encryption_keys(keys)).await;
    assert_eq!(service.send("/write/201").await.status, 201);
    let stored = format!("SELECT response FROM {}", super::super::RECORDS);
    let stored: Vec<u8> = sqlx::query_scalar(AssertSqlSafe(stored))
        .fetch_one(&service.database.pool)
        .await
        .expect("a response");
    let contains = |text: &[u8]| stored.windows(text.len()).any(|part| part == text);
    assert!(!contains(b"secret tea"));
    let retry = service.send("/write/201").await;
    assert!(retry.replayed());
    assert_eq!(retry.text(), "secret tea");
}

#[tokio::test]
async fn a_unit_test_calls_a_handler_and_rolls_back() {
    let service = service().await;
    let tx = Tx::for_test(&service.database.pool);
    let (status, _) = write_then(tx, Path(201)).await.expect("a response");
    assert_eq!(status, 201);
    assert!(service.effects().await.is_empty());
}

/// Acts in another system, and then in a transaction that fails.
#[endpoint(post = "/acts", idempotent(on_crash = unknown))]
async fn acts(mut tx: Tx<Db>) -> Result<StatusCode, OutcomeError> {
    write(&mut tx, "one").await?;
    let _ = write(&mut tx, "one").await;
    Ok(StatusCode::CREATED)
}

#[tokio::test]
async fn t04_with_on_crash_unknown_a_failed_transaction_is_an_unknown_outcome() {
    let service = Service::start(routes![acts]).await;
    for _ in 0..2 {
        let response = service.send("/acts").await;
        let problem = response.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
        assert_eq!(problem["retryable"], false);
    }
    assert!(service.effects().await.is_empty());
}
