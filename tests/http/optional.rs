//! Extractors in an `Option`, and as many arguments as there can be.

use aplomb::prelude::*;
use aplomb::routes;
use axum::http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::json;

use crate::app::TestService;

#[derive(Debug, Deserialize)]
struct Filter {
    year: u16,
}

/// Reads an optional body.
#[endpoint(put = "/body", public)]
async fn body(amount: Option<Json<u64>>) -> Json<Option<u64>> {
    Json(amount.map(|Json(amount)| amount))
}

/// Reads an optional query.
#[endpoint(get = "/query", public)]
async fn query(filter: Option<Query<Filter>>) -> Json<Option<u16>> {
    Json(filter.map(|Query(filter)| filter.year))
}

/// Reads parameters that its path has.
#[endpoint(get = "/paths/{id}", public)]
async fn path(id: Option<Path<u64>>) -> Json<Option<u64>> {
    Json(id.map(|Path(id)| id))
}

/// Reads parameters that its path lacks.
#[endpoint(get = "/paths", public)]
async fn no_path(id: Option<Path<u64>>) -> Json<Option<u64>> {
    Json(id.map(|Path(id)| id))
}

/// Reads all of them, and then the body.
#[endpoint(put = "/all/{id}", public)]
async fn all(
    id: Option<Path<u64>>,
    filter: Option<Query<Filter>>,
    amount: Option<Json<u64>>,
) -> String {
    format!("{id:?} {filter:?} {amount:?}")
}

/// Has sixteen arguments. The last one reads the body.
#[endpoint(put = "/sixteen/{id}", public)]
#[allow(clippy::too_many_arguments)]
async fn sixteen(
    Path(id): Path<u64>,
    Query(filter): Query<Filter>,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    _: HeaderMap,
    headers: HeaderMap,
    Json(amount): Json<u64>,
) -> String {
    format!("{id} {} {} {amount}", filter.year, headers["x-last"].len())
}

async fn start() -> TestService {
    TestService::start(routes![body, query, path, no_path, all, sixteen]).await
}

#[tokio::test]
async fn a_request_without_content_type_has_no_json() {
    let service = start().await;
    let put = || service.client.request(Method::PUT, "/body");
    assert_eq!(put().send().await.json(), json!(null));
    assert_eq!(put().body("7").send().await.json(), json!(null));
    assert_eq!(put().json("7").send().await.json(), json!(7));
}

#[tokio::test]
async fn f04_json_that_is_sent_is_rejected_as_without_an_option() {
    let service = start().await;
    let put = || service.client.request(Method::PUT, "/body");
    put().json("").send().await.problem(400, "MALFORMED_JSON");
    put()
        .json("-1")
        .send()
        .await
        .problem(422, "VALIDATION_FAILED");
    let text = put().header("content-type", "text/plain").body("7");
    text.send().await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn a_uri_without_query_has_no_query() {
    let service = start().await;
    let read = async |path: &str| service.client.get(path).send().await;
    assert_eq!(read("/query").await.json(), json!(null));
    assert_eq!(read("/query?year=2026").await.json(), json!(2026));
}

#[tokio::test]
async fn f04_a_query_that_is_sent_is_rejected_as_without_an_option() {
    let service = start().await;
    for path in ["/query?", "/query?month=1", "/query?year=next"] {
        let problem = service.client.get(path).send().await;
        problem.problem(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn a_path_without_parameters_has_no_path() {
    let service = start().await;
    let read = async |path: &str| service.client.get(path).send().await;
    assert_eq!(read("/paths").await.json(), json!(null));
    assert_eq!(read("/paths/7").await.json(), json!(7));
    let problem = read("/paths/x").await.problem(400, "INVALID_PARAMETER");
    assert_eq!(problem["errors"][0]["parameter"], "id");
}

#[tokio::test]
async fn all_three_are_read_together() {
    let service = start().await;
    let put = |path: &str| service.client.request(Method::PUT, path);
    assert_eq!(
        put("/all/1?year=2").json("3").send().await.text(),
        "Some(Path(1)) Some(Query(Filter { year: 2 })) Some(Json(3))"
    );
    assert_eq!(put("/all/1").send().await.text(), "Some(Path(1)) None None");
}

#[tokio::test]
async fn sixteen_arguments_are_read() {
    let service = start().await;
    let put = service.client.request(Method::PUT, "/sixteen/1?year=2");
    let response = put.header("x-last", "xxx").json("4").send().await;
    assert_eq!(response.text(), "1 2 3 4");
}
