//! Extractors in an `Option`, and a handler with the largest number of arguments.

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

/// Reads an optional parameter that is in the path.
#[endpoint(get = "/paths/{id}", public)]
async fn path(id: Option<Path<u64>>) -> Json<Option<u64>> {
    Json(id.map(|Path(id)| id))
}

/// Reads an optional parameter that is not in the path.
#[endpoint(get = "/paths", public)]
async fn no_path(id: Option<Path<u64>>) -> Json<Option<u64>> {
    Json(id.map(|Path(id)| id))
}

/// Reads an optional path parameter, an optional query and an optional body.
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
async fn optional_json_is_none_without_a_content_type() {
    let service = start().await;
    let put = || service.client.request(Method::PUT, "/body");
    assert_eq!(put().send().await.json(), json!(null));
    assert_eq!(put().body("7").send().await.json(), json!(null));
    assert_eq!(put().json("7").send().await.json(), json!(7));
}

#[tokio::test]
async fn f04_invalid_json_is_rejected_even_if_it_is_optional() {
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
async fn an_optional_query_is_none_without_a_query() {
    let service = start().await;
    let read = async |path: &str| service.client.get(path).send().await;
    assert_eq!(read("/query").await.json(), json!(null));
    assert_eq!(read("/query?year=2026").await.json(), json!(2026));
}

#[tokio::test]
async fn f04_an_invalid_query_is_rejected_even_if_it_is_optional() {
    let service = start().await;
    for path in ["/query?", "/query?month=1", "/query?year=next"] {
        let problem = service.client.get(path).send().await;
        problem.problem(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn an_optional_path_is_none_without_path_parameters() {
    let service = start().await;
    let read = async |path: &str| service.client.get(path).send().await;
    assert_eq!(read("/paths").await.json(), json!(null));
    assert_eq!(read("/paths/7").await.json(), json!(7));
    let problem = read("/paths/x").await.problem(400, "INVALID_PARAMETER");
    assert_eq!(problem["errors"][0]["parameter"], "id");
}

#[tokio::test]
async fn an_optional_path_query_and_body_are_read_together() {
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
