//! Errors at the start of a service.

use super::*;

/// Writes.
#[endpoint(post = "/write", idempotent)]
async fn write_effect(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "effect").await?;
    Ok("written")
}

async fn start_error(api: Api<App>) -> String {
    let api = api.auth(ApiKeys::parse("alice:sk_test_alice").expect("a key"));
    let error = api.into_router(App::default()).await.expect_err("an error");
    error.to_string()
}

fn api() -> Api<App> {
    Api::new("test", routes![write_effect])
}

#[tokio::test]
async fn t01_records_outside_of_the_database_are_a_start_error() {
    let error = start_error(api().store(Store::memory())).await;
    let expected = format!(
        "`write_effect` (POST /write) takes a `Tx<{0}>`, but the idempotency records are in another store",
        super::super::DATABASE
    );
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test]
async fn t08_a_time_limit_above_a_third_of_the_lease_is_a_start_error() {
    let database = TestDatabase::new().await;
    let api = api()
        .store(database.store())
        .lease(Duration::from_secs(6))
        .transaction_timeout(Duration::from_secs(3));
    let error = start_error(api).await;
    assert!(
        error.contains("3s is more than a third of the lease of 6s"),
        "{error}"
    );
}

#[tokio::test]
async fn t01_the_spec_names_the_database() {
    assert_eq!(
        <write_effect as aplomb::Endpoint>::SPEC.transaction,
        Some(super::super::DATABASE)
    );
}
