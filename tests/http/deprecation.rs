//! Deprecated endpoints: the fields of every response, and the changes after the sunset.

use core::time::Duration;

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{ClientRequest, ClientResponse, Fault, StoreOperation, TestLog};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::{ALICE, App, BOB, TestService};

#[derive(Serialize, Deserialize)]
struct Thing {
    size: u8,
}

/// Returns the response that the path selects.
#[endpoint(
    get = "/things/{how}",
    version = 1,
    timeout = "100ms",
    rate_limit("3/min", name = "things"),
    deprecated("2026-01-01", info = "https://api.example/why"),
    sunset("2026-01-31", info = "/what-then"),
    successor = thing_v2
)]
async fn thing(State(app): State<App>, Path(how): Path<String>) -> aplomb::Result<Response> {
    app.effect();
    match how.as_str() {
        "missing" => Ok(StatusCode::NOT_FOUND.into_response()),
        "same" => Ok((StatusCode::NOT_MODIFIED, [("etag", "\"1\"")]).into_response()),
        "own" => Ok((
            [("link", "</help>; rel=\"help\""), ("deprecation", "@0")],
            "own",
        )
            .into_response()),
        "late" => core::future::pending().await,
        "bad" => panic!("as requested"),
        _ => Ok(how.into_response()),
    }
}

/// The successor of `thing`.
#[endpoint(get = "/new/things/{how}", version = 2..=3)]
async fn thing_v2(Path(how): Path<String>) -> String {
    how
}

/// Creates one thing for each idempotency key.
#[endpoint(
    post = "/things",
    version = 1,
    idempotent,
    body_limit = "1KB",
    deprecated = "2026-01-01",
    sunset = "2026-01-31",
    successor = make_v2
)]
async fn make(State(app): State<App>, Json(thing): Json<Thing>) -> Created<Thing> {
    app.effect();
    Created::new(thing)
}

/// The successor of `make`.
#[endpoint(post = "/things", version = 3, idempotent)]
async fn make_v2(Json(thing): Json<Thing>) -> Created<Thing> {
    Created::new(thing)
}

#[derive(CursorKey)]
struct Above {
    #[cursor(unique)]
    number: u32,
}

/// Lists numbers. Has a sunset, and is not deprecated.
#[endpoint(
    get = "/numbers",
    version = 1,
    public,
    paginate(cursor, max = 2),
    sunset = "2026-01-31"
)]
async fn numbers(page: PageRequest<Above>) -> Page<u32> {
    let after = page.after().map_or(0, |key| key.number);
    page.page(
        (after + 1..10).take(page.fetch_limit()).collect(),
        |number| Above { number: *number },
    )
}

/// Has an enforced sunset.
#[endpoint(
    post = "/gone/{id}",
    version = 1..=2,
    idempotent,
    rate_limit = "1/min",
    sunset("2026-01-31", enforce),
    successor = stays
)]
async fn gone(State(app): State<App>, Path(_): Path<u8>, Json(_): Json<Thing>) {
    app.effect();
}

/// The successor of `gone`.
#[endpoint(post = "/gone/{id}", version = 3, not_idempotent = "does nothing")]
async fn stays(Path(_): Path<u8>) {}

/// Is deprecated a month later than the other endpoints, and has no version.
#[endpoint(get = "/later", public, deprecated = "2026-02-01")]
async fn later() {}

/// Has the same path as `later`, and another method.
#[endpoint(put = "/later", public, deprecated = "2026-02-01")]
async fn put_later() {}

async fn service() -> TestService {
    TestService::start(routes![
        thing, thing_v2, make, make_v2, numbers, gone, stays, later
    ])
    .await
}

/// The time from the start of the test clock to the sunset of the endpoints.
const ONE_MONTH: Duration = Duration::from_hours(31 * 24);

fn get(service: &TestService, path: &str) -> ClientRequest {
    service.client.get(path).bearer(ALICE)
}

fn post(service: &TestService, key: &str, body: &str) -> ClientRequest {
    service
        .client
        .post("/v1/things")
        .bearer(ALICE)
        .idempotency_key(key)
        .json(body)
}

/// Checks the status and the deprecation fields of a response.
#[track_caller]
fn assert_deprecated(reply: &ClientResponse, status: u16, links: &[&str]) {
    assert_eq!(reply.status, status, "{:?}", reply.body);
    assert_eq!(reply.header_values("deprecation"), ["@1767225600"]);
    assert_eq!(
        reply.header_values("sunset"),
        ["Sat, 31 Jan 2026 23:59:59 GMT"]
    );
    assert_eq!(reply.header_values("link"), links);
}

const PAGES: &str = "<https://api.example/why>; rel=\"deprecation\", </what-then>; rel=\"sunset\"";

#[tokio::test]
async fn e02_every_response_to_a_get_has_the_deprecation_fields() {
    let service = service().await;
    for (how, status) in [("7", 200), ("missing", 404), ("same", 304), ("7", 429)] {
        let reply = get(&service, &format!("/v1/things/{how}")).send().await;
        assert_deprecated(
            &reply,
            status,
            &[
                PAGES,
                &format!("</v3/new/things/{how}>; rel=\"successor-version\""),
            ],
        );
    }
    service.clock.advance(Duration::from_mins(1));
    for (how, status) in [("late", 504), ("bad", 500)] {
        let reply = get(&service, &format!("/v1/things/{how}")).send().await;
        assert_deprecated(
            &reply,
            status,
            &[
                PAGES,
                &format!("</v3/new/things/{how}>; rel=\"successor-version\""),
            ],
        );
    }
    let unauthenticated = service.client.get("/v1/things/7").send().await;
    assert_deprecated(
        &unauthenticated,
        401,
        &[PAGES, "</v3/new/things/7>; rel=\"successor-version\""],
    );
    let head = service
        .client
        .request(Method::HEAD, "/v1/things/a%20%2F%22b")
        .bearer(ALICE)
        .send()
        .await;
    assert_deprecated(
        &head,
        200,
        &[
            PAGES,
            "</v3/new/things/a%20%2F%22b>; rel=\"successor-version\"",
        ],
    );
}

#[tokio::test]
async fn e02_every_response_to_a_post_has_the_deprecation_fields() {
    let service = service().await;
    let successor = ["</v3/things>; rel=\"successor-version\""];
    let thing = json!({ "size": 7 }).to_string();
    let without_key = service
        .client
        .post("/v1/things")
        .bearer(ALICE)
        .json(&thing)
        .send()
        .await;
    assert_deprecated(&without_key, 400, &successor);
    for (body, status) in [
        ("{\"size\":", 400),
        ("{\"size\":300}", 422),
        (&"x".repeat(2000), 413),
    ] {
        assert_deprecated(
            &post(&service, &format!("wrong-{status}"), body)
                .send()
                .await,
            status,
            &successor,
        );
    }
    let untyped = service
        .client
        .post("/v1/things")
        .bearer(ALICE)
        .idempotency_key("untyped")
        .body(thing.clone())
        .send()
        .await;
    assert_deprecated(&untyped, 415, &successor);
    for replayed in [false, true] {
        let reply = post(&service, "stored", &thing).send().await;
        assert_deprecated(&reply, 201, &successor);
        assert_eq!(reply.replayed(), replayed);
    }
    assert_deprecated(
        &post(&service, "stored", "{\"size\":8}").send().await,
        422,
        &successor,
    );
    service
        .records
        .fail_next(StoreOperation::Begin, Fault::Lost);
    assert_deprecated(
        &post(&service, "lost", &thing).send().await,
        503,
        &successor,
    );
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn e02_declared_links_are_added_and_declared_dates_replace_dates_of_the_handler() {
    let service = service().await;
    let own = get(&service, "/v1/things/own").send().await;
    let successor = "</v3/new/things/own>; rel=\"successor-version\"";
    assert_deprecated(&own, 200, &["</help>; rel=\"help\"", PAGES, successor]);
    let page = service.client.get("/v1/numbers").send().await;
    assert_eq!(
        page.header_values("sunset"),
        ["Sat, 31 Jan 2026 23:59:59 GMT"]
    );
    assert!(page.header("deprecation").is_none());
    assert!(
        page.header("link")
            .is_some_and(|link| link.contains("rel=\"next\""))
    );
}

#[tokio::test]
async fn e02_endpoints_without_their_own_info_get_a_link_to_the_page_of_the_api() {
    let info = |api: Api<App>| api.deprecation_info("https://api.example/changes");
    let service = TestService::start_with(routes![thing, thing_v2, numbers, later], info).await;
    let links = async |path: &str| {
        service
            .client
            .get(path)
            .send()
            .await
            .header_values("link")
            .join(", ")
    };
    assert!(links("/v1/things/7").await.starts_with(PAGES));
    assert!(
        links("/v1/numbers")
            .await
            .ends_with("<https://api.example/changes>; rel=\"sunset\"")
    );
    assert_eq!(
        links("/later").await,
        "<https://api.example/changes>; rel=\"deprecation\""
    );
}

#[tokio::test]
async fn e02_endpoints_that_are_not_deprecated_have_no_deprecation_fields() {
    let service = service().await;
    let reply = get(&service, "/v2/new/things/7").send().await;
    assert_eq!(reply.status, 200);
    for field in ["deprecation", "sunset", "link"] {
        assert!(reply.header(field).is_none(), "{field}");
    }
    assert!(
        service
            .client
            .get("/v1/nothing")
            .send()
            .await
            .header("deprecation")
            .is_none()
    );
}

#[tokio::test]
async fn e03_responses_are_the_same_after_a_sunset_that_is_not_enforced() {
    let service = service().await;
    for _ in 0..2 {
        let reply = get(&service, "/v1/things/7").send().await;
        assert_deprecated(
            &reply,
            200,
            &[PAGES, "</v3/new/things/7>; rel=\"successor-version\""],
        );
        service.clock.advance(ONE_MONTH);
    }
}

#[tokio::test]
async fn e03_an_enforced_sunset_is_a_410_with_a_link_to_the_successor() {
    let service = service().await;
    let call = |path: &str| {
        service
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key("k")
            .json("{\"size\":7}")
    };
    service.clock.advance(
        ONE_MONTH
            .checked_sub(Duration::from_secs(1))
            .expect("one month is longer than a second"),
    );
    assert_eq!(call("/v1/gone/7").send().await.status, 200);
    service.clock.advance(Duration::from_secs(1));
    for (path, successor) in [("/v1/gone/7", "/v3/gone/7"), ("/v2/gone/8", "/v3/gone/8")] {
        let reply = call(path).send().await;
        let problem = reply.problem(410, "VERSION_GONE");
        assert_eq!(
            (&problem["retryable"], &problem["category"]),
            (&Value::from(false), &Value::from("gone"))
        );
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(successor)),
            "{problem}"
        );
        assert_eq!(
            reply.header_values("link"),
            [format!("<{successor}>; rel=\"successor-version\"")]
        );
        assert_eq!(
            reply.header_values("sunset"),
            ["Sat, 31 Jan 2026 23:59:59 GMT"]
        );
    }
    assert_eq!(service.app.effects(), 1);
    assert_eq!(call("/v3/gone/7").send().await.status, 200);
}

#[tokio::test]
async fn e03_after_an_enforced_sunset_an_endpoint_responds_without_other_checks() {
    let service = service().await;
    service.clock.advance(ONE_MONTH);
    service.records.set_broken(true);
    service.limits.hang(true);
    let large = "x".repeat(3 << 20);
    for call in [
        service.client.post("/v1/gone/7"),
        service.client.post("/v1/gone/7").bearer("sk_wrong"),
        service
            .client
            .post("/v1/gone/not-a-number")
            .bearer(BOB)
            .idempotency_key("k")
            .json("{"),
        service
            .client
            .post("/v1/gone/7")
            .bearer(ALICE)
            .idempotency_key("k")
            .json(large),
    ] {
        let reply = timeout(Duration::from_secs(10), call.send())
            .await
            .expect("the response does not wait for a store");
        reply.problem(410, "VERSION_GONE");
        assert!(reply.header("x-ratelimit-limit").is_none());
    }
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn e03_calls_are_counted_by_endpoint_and_version() {
    let mut calls = None;
    let listed = routes![thing, thing_v2, gone, stays, later, put_later];
    let service = TestService::start_with(listed, |api| {
        calls = Some(api.deprecated_calls());
        api
    })
    .await;
    let calls = calls.expect("an API");
    for _ in 0..2 {
        get(&service, "/v1/things/7").send().await;
        service.client.get("/v1/things/7").send().await;
        service.client.post("/v2/gone/7").send().await;
        service
            .client
            .get("/v3/new/things/7")
            .bearer(ALICE)
            .send()
            .await;
        service.client.request(Method::PUT, "/later").send().await;
        service.clock.advance(ONE_MONTH);
    }
    let counted: Vec<_> = calls
        .snapshot()
        .into_iter()
        .map(|count| {
            (
                count.endpoint,
                count.route,
                count.version,
                [count.calls, count.after_sunset, count.refused],
            )
        })
        .collect();
    let row = |name, route: &str, version, numbers| (name, route.to_owned(), version, numbers);
    assert_eq!(
        counted,
        [
            row("thing", "/v1/things/{how}", Some(1), [4, 2, 0]),
            row("gone", "/v1/gone/{id}", Some(1), [0, 0, 0]),
            row("gone", "/v2/gone/{id}", Some(2), [2, 1, 1]),
            row("later", "/later", None, [0, 0, 0]),
            row("put_later", "/later", None, [2, 0, 0]),
        ]
    );
}

#[tokio::test]
async fn e03_calls_are_logged_immediately_and_then_once_a_minute_with_their_number() {
    let log = TestLog::of("deprecation::stage");
    let _listening = log.listen();
    let service = service().await;
    for _ in 0..3 {
        get(&service, "/v1/things/7").send().await;
    }
    service.client.get("/later").send().await;
    service.clock.advance(Duration::from_mins(1));
    service.client.get("/v1/things/7").send().await;
    service.clock.advance(ONE_MONTH);
    service.client.get("/later").send().await;
    get(&service, "/v1/things/7").send().await;
    service.client.post("/v2/gone/7").bearer(ALICE).send().await;
    let lines = log.lines();
    let fields = |name: &str| {
        lines
            .iter()
            .map(|line| line.field(name).unwrap_or("-"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        fields("route"),
        [
            "/v1/things/{how}",
            "/v1/things/{how}",
            "/later",
            "/v1/things/{how}",
            "/v2/gone/{id}"
        ]
    );
    assert_eq!(fields("caller"), ["alice", "-", "-", "alice", "-"]);
    assert_eq!(fields("calls"), ["1", "3", "1", "1", "1"]);
    assert_eq!(
        fields("sunset"),
        ["2026-01-31", "2026-01-31", "-", "2026-01-31", "2026-01-31"]
    );
    let messages = fields("message");
    assert_eq!(messages[..3], ["a deprecated endpoint was called"; 3]);
    assert_eq!(
        messages[3..],
        [
            "an endpoint was called after its sunset",
            "a call after an enforced sunset was rejected"
        ]
    );
}

#[tokio::test]
async fn e02_an_invalid_deprecation_info_address_is_a_start_error() {
    for page in [
        "",
        "changes.html",
        "https://",
        "/a b",
        "/a>",
        "ftp://api.example",
    ] {
        let api = Api::new("test", routes![later]).deprecation_info(page);
        let errors = api.into_router(()).await.expect_err(page).to_string();
        assert!(errors.contains("the deprecation page"), "{errors}");
    }
}
