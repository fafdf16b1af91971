//! Endpoints that go: what every response says, and what changes after the sunset.

use core::time::Duration;

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{ClientRequest, ClientResponse, Fault, StoreOperation, TestLog};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::{ALICE, App, BOB, Bench};

#[derive(Serialize, Deserialize)]
struct Thing {
    size: u8,
}

/// Answers as asked.
#[endpoint(
    get = "/things/{how}",
    version = 1,
    timeout = "100ms",
    rate_limit("3/min", name = "things"),
    deprecated("2026-01-01", info = "https://api.example/why"),
    sunset("2026-01-31", info = "/what-then"),
    successor = thing_v2
)]
async fn thing(State(app): State<App>, Path(how): Path<String>) -> Result<Response> {
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
        "bad" => panic!("as asked"),
        _ => Ok(how.into_response()),
    }
}

/// Takes its place.
#[endpoint(get = "/new/things/{how}", version = 2..=3)]
async fn thing_v2(Path(how): Path<String>) -> String {
    how
}

/// Makes a thing, once for each key.
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

/// Takes its place.
#[endpoint(post = "/things", version = 3, idempotent)]
async fn make_v2(Json(thing): Json<Thing>) -> Created<Thing> {
    Created::new(thing)
}

#[derive(CursorKey)]
struct Above {
    #[cursor(unique)]
    number: u32,
}

/// A list of which only the end is known.
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

/// Goes for good.
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

/// Takes its place.
#[endpoint(post = "/gone/{id}", version = 3, not_idempotent = "does nothing")]
async fn stays(Path(_): Path<u8>) {}

/// Is deprecated later, and has no version.
#[endpoint(get = "/later", public, deprecated = "2026-02-01")]
async fn later() {}

/// Is another endpoint of the same path.
#[endpoint(put = "/later", public, deprecated = "2026-02-01")]
async fn put_later() {}

async fn bench() -> Bench {
    Bench::start(routes![
        thing, thing_v2, make, make_v2, numbers, gone, stays, later
    ])
    .await
}

/// A little over the month that all of them have.
const A_MONTH: Duration = Duration::from_hours(31 * 24);

fn get(bench: &Bench, path: &str) -> ClientRequest {
    bench.client.get(path).bearer(ALICE)
}

fn post(bench: &Bench, key: &str, body: &str) -> ClientRequest {
    bench
        .client
        .post("/v1/things")
        .bearer(ALICE)
        .idempotency_key(key)
        .json(body)
}

/// Checks the fields of a response that was asked for at `path`.
#[track_caller]
fn goes(reply: &ClientResponse, status: u16, links: &[&str]) {
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
async fn e02_every_kind_of_answer_to_a_get_says_that_the_endpoint_goes() {
    let bench = bench().await;
    for (how, status) in [("7", 200), ("missing", 404), ("same", 304), ("7", 429)] {
        let reply = get(&bench, &format!("/v1/things/{how}")).send().await;
        goes(
            &reply,
            status,
            &[
                PAGES,
                &format!("</v3/new/things/{how}>; rel=\"successor-version\""),
            ],
        );
    }
    bench.clock.advance(Duration::from_mins(1));
    for (how, status) in [("late", 504), ("bad", 500)] {
        let reply = get(&bench, &format!("/v1/things/{how}")).send().await;
        goes(
            &reply,
            status,
            &[
                PAGES,
                &format!("</v3/new/things/{how}>; rel=\"successor-version\""),
            ],
        );
    }
    let nobody = bench.client.get("/v1/things/7").send().await;
    goes(
        &nobody,
        401,
        &[PAGES, "</v3/new/things/7>; rel=\"successor-version\""],
    );
    let head = bench
        .client
        .request(Method::HEAD, "/v1/things/a%20%2F%22b")
        .bearer(ALICE)
        .send()
        .await;
    goes(
        &head,
        200,
        &[
            PAGES,
            "</v3/new/things/a%20%2F%22b>; rel=\"successor-version\"",
        ],
    );
}

#[tokio::test]
async fn e02_every_kind_of_answer_to_a_post_says_that_the_endpoint_goes() {
    let bench = bench().await;
    let successor = ["</v3/things>; rel=\"successor-version\""];
    let thing = json!({ "size": 7 }).to_string();
    let unkeyed = bench
        .client
        .post("/v1/things")
        .bearer(ALICE)
        .json(&thing)
        .send()
        .await;
    goes(&unkeyed, 400, &successor);
    for (body, status) in [
        ("{\"size\":", 400),
        ("{\"size\":300}", 422),
        (&"x".repeat(2000), 413),
    ] {
        goes(
            &post(&bench, &format!("wrong-{status}"), body).send().await,
            status,
            &successor,
        );
    }
    let untyped = bench
        .client
        .post("/v1/things")
        .bearer(ALICE)
        .idempotency_key("untyped")
        .body(thing.clone())
        .send()
        .await;
    goes(&untyped, 415, &successor);
    for replayed in [false, true] {
        let reply = post(&bench, "kept", &thing).send().await;
        goes(&reply, 201, &successor);
        assert_eq!(reply.replayed(), replayed);
    }
    goes(
        &post(&bench, "kept", "{\"size\":8}").send().await,
        422,
        &successor,
    );
    bench.records.fail_next(StoreOperation::Begin, Fault::Lost);
    goes(&post(&bench, "lost", &thing).send().await, 503, &successor);
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn e02_links_stand_beside_those_of_the_answer_and_the_declared_date_holds() {
    let bench = bench().await;
    let own = get(&bench, "/v1/things/own").send().await;
    let successor = "</v3/new/things/own>; rel=\"successor-version\"";
    goes(&own, 200, &["</help>; rel=\"help\"", PAGES, successor]);
    let page = bench.client.get("/v1/numbers").send().await;
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
async fn e02_an_api_names_a_page_for_all_that_name_none() {
    let info = |api: Api<App>| api.deprecation_info("https://api.example/changes");
    let bench = Bench::start_with(routes![thing, thing_v2, numbers, later], info).await;
    let links = async |path: &str| {
        bench
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
async fn e02_others_say_nothing() {
    let bench = bench().await;
    let reply = get(&bench, "/v2/new/things/7").send().await;
    assert_eq!(reply.status, 200);
    for field in ["deprecation", "sunset", "link"] {
        assert!(reply.header(field).is_none(), "{field}");
    }
    assert!(
        bench
            .client
            .get("/v1/nothing")
            .send()
            .await
            .header("deprecation")
            .is_none()
    );
}

#[tokio::test]
async fn e03_nothing_changes_at_the_sunset_where_it_is_not_enforced() {
    let bench = bench().await;
    for _ in 0..2 {
        let reply = get(&bench, "/v1/things/7").send().await;
        goes(
            &reply,
            200,
            &[PAGES, "</v3/new/things/7>; rel=\"successor-version\""],
        );
        bench.clock.advance(A_MONTH);
    }
}

#[tokio::test]
async fn e03_an_enforced_sunset_is_a_410_with_its_successor() {
    let bench = bench().await;
    let call = |path: &str| {
        bench
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key("k")
            .json("{\"size\":7}")
    };
    bench
        .clock
        .advance(A_MONTH.checked_sub(Duration::from_secs(1)).expect("longer"));
    assert_eq!(call("/v1/gone/7").send().await.status, 200);
    bench.clock.advance(Duration::from_secs(1));
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
    assert_eq!(bench.app.effects(), 1);
    assert_eq!(call("/v3/gone/7").send().await.status, 200);
}

#[tokio::test]
async fn e03_what_is_gone_asks_nobody() {
    let bench = bench().await;
    bench.clock.advance(A_MONTH);
    bench.records.break_down(true);
    bench.limits.hang(true);
    let large = "x".repeat(3 << 20);
    for call in [
        bench.client.post("/v1/gone/7"),
        bench.client.post("/v1/gone/7").bearer("sk_wrong"),
        bench
            .client
            .post("/v1/gone/not-a-number")
            .bearer(BOB)
            .idempotency_key("k")
            .json("{"),
        bench
            .client
            .post("/v1/gone/7")
            .bearer(ALICE)
            .idempotency_key("k")
            .json(large),
    ] {
        let reply = timeout(Duration::from_secs(10), call.send())
            .await
            .expect("nobody is waited for");
        reply.problem(410, "VERSION_GONE");
        assert!(reply.header("x-ratelimit-limit").is_none());
    }
    assert_eq!(bench.app.effects(), 0);
}

#[tokio::test]
async fn e03_calls_are_counted_by_endpoint_and_version() {
    let mut calls = None;
    let listed = routes![thing, thing_v2, gone, stays, later, put_later];
    let bench = Bench::start_with(listed, |api| {
        calls = Some(api.deprecated_calls());
        api
    })
    .await;
    let calls = calls.expect("an API");
    for _ in 0..2 {
        get(&bench, "/v1/things/7").send().await;
        bench.client.get("/v1/things/7").send().await;
        bench.client.post("/v2/gone/7").send().await;
        bench
            .client
            .get("/v3/new/things/7")
            .bearer(ALICE)
            .send()
            .await;
        bench.client.request(Method::PUT, "/later").send().await;
        bench.clock.advance(A_MONTH);
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
async fn e03_the_log_is_told_at_once_and_then_once_a_minute_how_many() {
    let log = TestLog::of("deprecation::stage");
    let _listening = log.listen();
    let bench = bench().await;
    for _ in 0..3 {
        get(&bench, "/v1/things/7").send().await;
    }
    bench.client.get("/later").send().await;
    bench.clock.advance(Duration::from_mins(1));
    bench.client.get("/v1/things/7").send().await;
    bench.clock.advance(A_MONTH);
    bench.client.get("/later").send().await;
    get(&bench, "/v1/things/7").send().await;
    bench.client.post("/v2/gone/7").bearer(ALICE).send().await;
    let lines = log.lines();
    let of = |name: &str| {
        lines
            .iter()
            .map(|line| line.field(name).unwrap_or("-"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("route"),
        [
            "/v1/things/{how}",
            "/v1/things/{how}",
            "/later",
            "/v1/things/{how}",
            "/v2/gone/{id}"
        ]
    );
    assert_eq!(of("caller"), ["alice", "-", "-", "alice", "-"]);
    assert_eq!(of("calls"), ["1", "3", "1", "1", "1"]);
    assert_eq!(
        of("sunset"),
        ["2026-01-31", "2026-01-31", "-", "2026-01-31", "2026-01-31"]
    );
    let messages = of("message");
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
async fn e02_a_page_that_is_no_address_is_said_at_start() {
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
        assert!(errors.contains("the page of deprecations"), "{errors}");
    }
}
