//! An API in another axum application.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use aplomb::prelude::*;
use aplomb::{Secret, routes};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use http_body_util::BodyExt;

use crate::app::serve;

#[derive(Clone)]
struct Db(&'static str);

#[derive(Clone)]
struct App {
    db: Db,
}

impl FromRef<App> for Db {
    fn from_ref(app: &App) -> Self {
        app.db.clone()
    }
}

/// Reads a part of the state.
#[endpoint(get = "/things", version = 1)]
async fn things(State(db): State<Db>) -> &'static str {
    db.0
}

#[tokio::test]
async fn endpoints_merge_into_a_router_without_changing_its_other_routes() {
    let api = Api::new("things", routes![things]).without_auth();
    let router = api
        .into_router(App { db: Db("rows") })
        .await
        .expect("a valid API");
    let app = Router::new()
        .route("/", get(async || "home"))
        .merge(router)
        .fallback(async || "my own fallback");
    let client = serve(app).await;
    assert_eq!(client.get("/").send().await.body, "home");
    assert_eq!(client.get("/v1/things").send().await.body, "rows");
    assert_eq!(
        client.get("/v2/things").send().await.body,
        "my own fallback"
    );
}

#[tokio::test]
async fn endpoints_can_be_nested_and_layered() {
    let api = Api::new("things", routes![things]).without_auth();
    let router = api
        .into_router(App { db: Db("rows") })
        .await
        .expect("a valid API");
    let router = router.layer(axum::middleware::map_response(
        async |mut response: axum::response::Response| {
            response
                .headers_mut()
                .insert("x-layer", http::HeaderValue::from_static("yes"));
            response
        },
    ));
    let client = serve(Router::new().nest("/api", router)).await;
    let reply = client.get("/api/v1/things").send().await;
    assert_eq!(
        (&reply.body[..], reply.header("x-layer")),
        (&b"rows"[..], Some("yes"))
    );
}

#[tokio::test]
async fn an_annotated_handler_can_be_called_as_a_function() {
    assert_eq!(things(State(Db("called"))).await, "called");
}

#[tokio::test]
async fn a_router_can_be_called_without_a_socket() {
    use tower_service::Service as _;

    let api = Api::new("things", routes![things]).without_auth();
    let mut router = api
        .into_router(App { db: Db("rows") })
        .await
        .expect("a valid API");
    let request = Request::get("/v1/things")
        .body(Body::empty())
        .expect("a request");
    let response = router.call(request).await.expect("infallible");
    assert_eq!(
        response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes(),
        "rows"
    );
}

/// Counts one time for each idempotency key.
#[endpoint(post = "/count", version = 1, idempotent(anonymous))]
async fn count(State(counter): State<Counter>) -> String {
    counter.fetch_add(1, Ordering::SeqCst).to_string()
}

type Counter = Arc<AtomicUsize>;

const UUID: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

#[tokio::test]
async fn a05_a_request_with_another_parameter_of_an_outer_router_is_a_422() {
    let api = Api::new("counts", routes![count]).without_auth();
    let router = api
        .into_router(Counter::default())
        .await
        .expect("a valid API");
    let client = serve(Router::new().nest("/tenants/{tenant}", router)).await;
    let post = |tenant: u8| {
        client
            .post(&format!("/tenants/{tenant}/v1/count"))
            .idempotency_key(UUID)
            .send()
    };
    assert_eq!(post(1).await.body, "0");
    assert!(post(1).await.replayed());
    post(2).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn two_apis_on_one_store_share_no_keys() {
    let (store, secret) = (Store::memory(), Secret::new([7; 32]).expect("long enough"));
    let mut responses = Vec::new();
    for name in ["one", "two"] {
        let api = Api::new(name, routes![count])
            .without_auth()
            .store(store.clone())
            .secret(secret.clone());
        let client = serve(
            api.into_router(Counter::default())
                .await
                .expect("a valid API"),
        )
        .await;
        responses.push(client.post("/v1/count").idempotency_key(UUID).send().await);
    }
    assert!(
        responses
            .iter()
            .all(|response| response.body == "0" && !response.replayed())
    );
}

#[tokio::test]
async fn a_new_title_does_not_change_the_idempotency_keys() {
    let (store, secret) = (Store::memory(), Secret::new([7; 32]).expect("long enough"));
    let mut replayed = Vec::new();
    for title in ["Counts", "Counts, renamed"] {
        let api = Api::new("counts", routes![count])
            .title(title)
            .without_auth();
        let api = api.store(store.clone()).secret(secret.clone());
        let client = serve(
            api.into_router(Counter::default())
                .await
                .expect("a valid API"),
        )
        .await;
        replayed.push(
            client
                .post("/v1/count")
                .idempotency_key(UUID)
                .send()
                .await
                .replayed(),
        );
    }
    assert_eq!(replayed, [false, true]);
}
