//! Every error is a problem document, regardless of its origin.

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{Client, eventually};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::app::{ALICE, App, TestService};

#[derive(Debug, thiserror::Error, ApiError)]
enum Failure {
    #[error("the account {id} is closed")]
    #[problem(conflict, code = "ACCOUNT_CLOSED")]
    Closed {
        #[problem(extension)]
        id: u64,
    },
    #[error("the disk at /dev/sda is full")]
    #[problem(internal)]
    Disk,
    #[error("the amount must be positive")]
    #[problem(validation, code = "NOT_POSITIVE", pointer = "#/amount")]
    Amount,
    #[error("the bank does not answer")]
    #[problem(dependency, retry_after = "3s")]
    Bank,
}

/// Returns the error that the path selects.
#[endpoint(get = "/fail/{how}", public)]
async fn fail(Path(how): Path<String>) -> aplomb::Result<Response> {
    match how.as_str() {
        "closed" => Err(Failure::Closed { id: 7 })?,
        "disk" => Err(Failure::Disk)?,
        "amount" => Err(Failure::Amount)?,
        "bank" => Err(Failure::Bank)?,
        "empty" => Ok(StatusCode::IM_A_TEAPOT.into_response()),
        "unavailable" => {
            Ok((StatusCode::SERVICE_UNAVAILABLE, Failure::Closed { id: 7 }).into_response())
        }
        "gone" => Ok((StatusCode::GONE, Failure::Closed { id: 7 }).into_response()),
        "late" => Ok(([("retry-after", "9")], Failure::Closed { id: 7 }).into_response()),
        "typed" => Ok((StatusCode::BAD_REQUEST, axum::Json("my own")).into_response()),
        _ => panic!("as requested: secret"),
    }
}

/// Returns the error of a dependency, on a POST without idempotency.
#[endpoint(post = "/fail", public, not_idempotent = "nothing is stored")]
async fn fail_post() -> Result<(), Failure> {
    Err(Failure::Bank)
}

/// Never responds.
#[endpoint(get = "/hang", public, timeout = "50ms")]
async fn hang() {
    core::future::pending::<()>().await;
}

#[derive(Deserialize)]
struct Line {
    amount: i64,
}

#[derive(Deserialize)]
struct Search {
    year: u16,
}

/// Uses the extractors of axum.
#[endpoint(post = "/axum/{id}", public, not_idempotent = "nothing is stored")]
async fn axum_extractors(
    axum::extract::Path(id): axum::extract::Path<u64>,
    axum::extract::Query(search): axum::extract::Query<Search>,
    axum::Json(line): axum::Json<Line>,
) -> String {
    format!("{id} {} {}", search.year, line.amount)
}

/// Uses the extractors of Aplomb.
#[endpoint(post = "/ours/{id}", public, not_idempotent = "nothing is stored")]
async fn our_extractors(
    Path(id): Path<u64>,
    Query(search): Query<Search>,
    Json(lines): Json<Vec<Line>>,
) -> String {
    format!(
        "{id} {} {}",
        search.year,
        lines.iter().map(|line| line.amount).sum::<i64>()
    )
}

async fn service() -> TestService {
    TestService::start(routes![
        fail,
        fail_post,
        hang,
        axum_extractors,
        our_extractors
    ])
    .await
}

#[tokio::test]
async fn f01_errors_of_a_handler_are_problem_documents() {
    let service = service().await;
    let problem = service
        .client
        .get("/fail/closed")
        .send()
        .await
        .problem(409, "ACCOUNT_CLOSED");
    assert_eq!(problem["title"], "Account closed");
    assert_eq!(problem["detail"], "the account 7 is closed");
    assert_eq!(
        (problem["category"].as_str(), problem["id"].as_u64()),
        (Some("conflict"), Some(7))
    );
}

#[tokio::test]
async fn f02_a_5xx_hides_its_cause() {
    let service = service().await;
    for path in ["/fail/disk", "/fail/panic"] {
        let reply = service.client.get(path).send().await;
        let code = if path == "/fail/disk" {
            "DISK"
        } else {
            "INTERNAL"
        };
        reply.problem(500, code);
        let text = String::from_utf8_lossy(&reply.body);
        assert!(
            !text.contains("/dev/sda") && !text.contains("secret"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn f02_a_5xx_that_replaces_the_status_of_a_4xx_problem_hides_its_detail() {
    let service = service().await;
    let reply = service.client.get("/fail/unavailable").send().await;
    let problem = reply.problem(503, "SERVICE_UNAVAILABLE");
    assert_eq!(
        (&problem["id"], &problem["category"]),
        (&Value::Null, &"dependency".into())
    );
    assert!(!String::from_utf8_lossy(&reply.body).contains("closed"));
    let problem = service
        .client
        .get("/fail/gone")
        .send()
        .await
        .problem(410, "ACCOUNT_CLOSED");
    assert_eq!(
        (&problem["id"], &problem["category"]),
        (&7.into(), &"gone".into())
    );
}

#[tokio::test]
async fn f05_retry_after_set_by_a_handler_on_a_problem_that_is_not_retryable_is_not_sent() {
    let service = service().await;
    let reply = service.client.get("/fail/late").send().await;
    reply.problem(409, "ACCOUNT_CLOSED");
    assert_eq!(reply.header("retry-after"), None);
}

#[tokio::test]
async fn f01_an_error_response_becomes_a_problem_document_only_if_it_is_empty() {
    let service = service().await;
    service
        .client
        .get("/fail/empty")
        .send()
        .await
        .problem(418, "BAD_REQUEST");
    let typed = service.client.get("/fail/typed").send().await;
    assert_eq!(
        (typed.status.as_u16(), &typed.body[..]),
        (400, &b"\"my own\""[..])
    );
}

#[tokio::test]
async fn f01_an_unknown_path_or_method_is_a_problem_document() {
    let service = service().await;
    service
        .client
        .get("/nowhere")
        .send()
        .await
        .problem(404, "NOT_FOUND");
    let reply = service.client.post("/hang").send().await;
    reply.problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
    let reply = service
        .client
        .request("BREW".parse().expect("a method"), "/hang")
        .send()
        .await;
    reply.problem(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn f01_a_missed_deadline_is_a_problem_document() {
    let service = service().await;
    let reply = service.client.get("/hang").send().await;
    let problem = reply.problem(504, "DEADLINE_EXCEEDED");
    assert_eq!(
        (problem["category"].as_str(), problem["retryable"].as_bool()),
        (Some("dependency"), Some(true))
    );
}

#[tokio::test]
async fn f04_validation_errors_name_the_pointer_or_parameter() {
    let service = service().await;
    let problem = service
        .client
        .get("/fail/amount")
        .send()
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(problem["errors"][0]["pointer"], "#/amount");
    assert_eq!(problem["errors"][0]["code"], "NOT_POSITIVE");
    let call = |path: &str, body: &str| service.client.post(path).json(body).send();
    let problem = call("/ours/1?year=2026", r#"[{"amount":1},{"amount":"x"}]"#)
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(problem["errors"][0]["pointer"], "#/1/amount");
    let problem = call("/ours/1?year=soon", "[]")
        .await
        .problem(400, "INVALID_PARAMETER");
    assert_eq!(problem["errors"][0]["parameter"], "year");
    let problem = call("/ours/one?year=2026", "[]")
        .await
        .problem(400, "INVALID_PARAMETER");
    assert_eq!(problem["errors"][0]["parameter"], "id");
    assert_eq!(
        call("/ours/1?year=2026", r#"[{"amount":1}]"#).await.body,
        "1 2026 1"
    );
}

#[tokio::test]
async fn f01_rejections_of_axum_extractors_are_rewritten() {
    let service = service().await;
    let call = |path: &str, body: &str| service.client.post(path).json(body).send();
    call("/axum/one?year=2026", r#"{"amount":1}"#)
        .await
        .problem(400, "BAD_REQUEST");
    call("/axum/1?year=soon", r#"{"amount":1}"#)
        .await
        .problem(400, "BAD_REQUEST");
    call("/axum/1?year=2026", "{")
        .await
        .problem(400, "BAD_REQUEST");
    let problem = call("/axum/1?year=2026", r#"{"amount":"x"}"#)
        .await
        .problem(422, "VALIDATION_FAILED");
    assert!(
        problem["detail"]
            .as_str()
            .expect("the rejection's text")
            .contains("amount")
    );
    let plain = service
        .client
        .post("/axum/1?year=2026")
        .body("1")
        .send()
        .await;
    plain.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(
        call("/axum/1?year=2026", r#"{"amount":1}"#).await.body,
        "1 2026 1"
    );
}

#[tokio::test]
async fn f05_a_dependency_error_is_retryable_if_the_request_is_idempotent() {
    let service = service().await;
    let get = service.client.get("/fail/bank").send().await;
    assert_eq!(
        (
            get.problem(503, "BANK")["retryable"].as_bool(),
            get.header_number("retry-after")
        ),
        (Some(true), 3)
    );
    let post = service.client.post("/fail").send().await;
    assert_eq!(post.problem(503, "BANK")["retryable"], false);
    assert_eq!(post.header("retry-after"), None);
}

#[tokio::test]
async fn f02_the_base_of_problem_types_can_be_set() {
    let api = Api::new("test", routes![fail]).problem_base("https://example.com/problems/");
    let server = aplomb::testing::TestServer::start(api, ())
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    for path in ["/fail/closed", "/nowhere"] {
        let document = client.get(path).send().await.json();
        let expected = format!(
            "https://example.com/problems/{}",
            document["code"].as_str().expect("a code")
        );
        assert_eq!(document["type"], expected);
    }
}

#[tokio::test]
async fn a_handler_without_a_key_is_cancelled_at_the_deadline() {
    #[endpoint(get = "/held", timeout = "50ms")]
    async fn held(State(app): State<App>) {
        let _dropped = count_drop(app.clone());
        core::future::pending::<()>().await;
    }
    let service = TestService::start(routes![held]).await;
    service
        .client
        .get("/held")
        .bearer(ALICE)
        .send()
        .await
        .problem(504, "DEADLINE_EXCEEDED");
    eventually("the handler's values are dropped", async || {
        service.app.effects() > 0
    })
    .await;
}

/// Returns a value that counts an effect when it is dropped.
fn count_drop(app: App) -> impl Drop {
    struct Guard(App);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.effect();
        }
    }
    Guard(app)
}
