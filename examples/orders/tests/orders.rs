//! Sends requests to the service.

use aplomb::prelude::*;
use aplomb::testing::{ClientResponse, TestServer};
use orders::App;
use serde_json::json;

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

/// Starts the service on a free port, with a database in memory and two callers.
async fn start() -> TestServer {
    let database = "sqlite::memory:".parse().expect("a database in memory");
    let app = App::open(database, 100).await.expect("the tables");
    let keys = ApiKeys::parse("alice:sk_test_alice,bob:sk_test_bob").expect("valid keys");
    let api = Api::new("orders", orders::routes()).auth(keys);
    TestServer::start(api, app).await.expect("a valid API")
}

async fn place(server: &TestServer, key: &str, quantity: u32) -> ClientResponse {
    let body = json!({ "item": "book", "quantity": quantity });
    let request = server.client().post("/v1/orders").bearer("sk_test_alice");
    request
        .idempotency_key(key)
        .json(body.to_string())
        .send()
        .await
}

#[tokio::test]
async fn a_retry_places_no_second_order() {
    let server = start().await;
    let first = place(&server, KEY, 2).await;
    let retry = place(&server, KEY, 2).await;
    assert_eq!(first.status, 201);
    assert!(retry.replayed());
    assert_eq!(first.json(), retry.json());
    let list = server
        .client()
        .get("/v1/orders")
        .bearer("sk_test_alice")
        .send()
        .await;
    assert_eq!(list.json()["data"], json!([first.json()]));
}

#[tokio::test]
async fn orders_of_another_caller_are_not_found() {
    let server = start().await;
    let order = place(&server, KEY, 2).await;
    let path = order.header("location").expect("a location");
    let request = server.client().get(path).bearer("sk_test_bob");
    request.send().await.problem(404, "ORDER_NOT_FOUND");
}

#[tokio::test]
async fn a_quantity_above_the_maximum_is_refused() {
    let server = start().await;
    let problem = place(&server, KEY, 101)
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(problem["errors"][0]["code"], "QUANTITY_OUT_OF_RANGE");
    assert_eq!(problem["errors"][0]["pointer"], "#/quantity");
}
