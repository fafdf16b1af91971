//! Inputs of a hostile client, and the problem document for each of them. No input causes a 5xx,
//! and the service stays available.

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::ClientResponse;
use serde::{Deserialize, Serialize};

use crate::app::{ALICE, App, BOB, TestService};

#[derive(Debug, Resource)]
#[resource(prefix = "thing")]
struct Thing;

#[derive(Debug, Deserialize, Serialize)]
struct NewThing {
    name: String,
    count: i64,
}

#[derive(Debug, Deserialize)]
struct Search {
    #[serde(default)]
    name: String,
    #[serde(default)]
    count: i64,
}

#[derive(CursorKey)]
struct Below {
    #[cursor(desc, unique)]
    id: u32,
}

/// Reads a thing by its identifier.
#[endpoint(get = "/things/{id}")]
async fn one(Path(id): Path<Id<Thing>>) -> String {
    id.to_string()
}

/// Reads a thing by its number.
#[endpoint(get = "/numbered/{number}")]
async fn numbered(Path(number): Path<i64>) -> String {
    number.to_string()
}

/// Reads a thing by its name.
#[endpoint(get = "/named/{name}")]
async fn named(Path(name): Path<String>) -> String {
    name
}

/// Searches things by query parameters.
#[endpoint(get = "/search")]
async fn search(Query(search): Query<Search>) -> String {
    format!("{}{}", search.name, search.count)
}

/// Creates a thing.
#[endpoint(post = "/things", idempotent(optional))]
async fn make(State(app): State<App>, Json(new): Json<NewThing>) -> Created<NewThing> {
    app.effect();
    Created::new(new)
}

/// Returns the text of the request.
#[endpoint(post = "/texts", not_idempotent = "the last text counts")]
async fn text(State(app): State<App>, text: String) -> String {
    app.effect();
    text
}

/// Lists numbers in descending order.
#[endpoint(get = "/pages", paginate(cursor, default = 2, max = 3))]
async fn pages(page: PageRequest<Below>) -> Page<u32> {
    let below = page.after().map_or(9, |key| key.id);
    page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
        Below { id: *id }
    })
}

/// Lists numbers in numbered pages.
#[endpoint(get = "/counted", paginate = offset)]
async fn counted(page: OffsetRequest) -> Page<usize> {
    page.page(
        (page.offset()..1_000_000)
            .take(page.fetch_limit())
            .collect(),
        None,
    )
}

async fn service() -> TestService {
    TestService::start(routes![
        one, numbered, named, search, make, text, pages, counted
    ])
    .await
}

async fn get(service: &TestService, path: &str) -> ClientResponse {
    service.client.get(path).bearer(ALICE).send().await
}

async fn post(service: &TestService, body: impl Into<bytes::Bytes>) -> ClientResponse {
    let call = service
        .client
        .post("/things")
        .bearer(ALICE)
        .header("content-type", "application/json");
    call.body(body).send().await
}

/// Sends these bytes. Checks the problem, and checks that the service stays available.
async fn assert_problem(service: &TestService, request: &[u8], status: u16, code: &str) {
    let mut raw = service.client.raw().await;
    raw.write_bytes(request).await;
    let text = raw.response().await;
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let document: serde_json::Value = serde_json::from_str(body).expect("a document");
    assert_eq!(
        (&document["code"], &document["status"]),
        (&code.into(), &status.into()),
        "{document}"
    );
    let id = document["request_id"].as_str().expect("an id");
    for field in [
        format!("x-request-id: {id}"),
        String::from("content-type: application/problem+json"),
    ] {
        assert!(head.contains(&field), "{field} in {head}");
    }
    assert_eq!(
        get(service, "/numbered/1").await.body,
        "1",
        "the service stays available"
    );
}

/// Sends bytes that hyper cannot parse. Checks that hyper rejects them, and that the service stays
/// available.
async fn assert_rejected_by_hyper(service: &TestService, request: &[u8], status: u16) {
    let mut raw = service.client.raw().await;
    raw.write_bytes(request).await;
    let text = raw.response().await;
    assert!(
        text.starts_with(&format!("HTTP/1.1 {status} ")) && text.ends_with("\r\n\r\n"),
        "{text}"
    );
    assert_eq!(
        get(service, "/numbered/1").await.body,
        "1",
        "the service stays available"
    );
}

fn head(line: &str) -> String {
    format!("{line}\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n")
}

/// Returns the name of the parameter in a problem.
fn parameter(reply: &ClientResponse) -> String {
    reply.problem(400, "INVALID_PARAMETER")["errors"][0]["parameter"]
        .as_str()
        .expect("a name")
        .to_owned()
}

const NUMBER: &str = "1234567890123456789012345678901234567890";

#[tokio::test]
async fn identifiers_with_a_wrong_prefix_or_form_are_a_400() {
    let service = service().await;
    for id in [
        "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6",
        "01HZQK7P3WVXBN4Y9MRDTJC8E6",
        "thing_01HZQK7P3WVXBN4Y9MRDTJC8E",
        "thing_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "THING_01HZQK7P3WVXBN4Y9MRDTJC8E6",
        "thing_01HZQK7P3WVXBN4Y9MRDTJC8EU",
        "thing_",
        "%00",
    ] {
        assert_eq!(
            parameter(&get(&service, &format!("/things/{id}")).await),
            "id",
            "{id}"
        );
    }
}

#[tokio::test]
async fn truncated_and_foreign_cursors_are_a_400_and_a_cursor_can_be_reused() {
    let service = service().await;
    let first = get(&service, "/pages").await.json();
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    for length in [0, 1, cursor.len() / 2, cursor.len() - 1] {
        let path = format!("/pages?cursor={}", &cursor[..length]);
        get(&service, &path).await.problem(400, "INVALID_CURSOR");
    }
    let foreign = service
        .client
        .get(&format!("/pages?cursor={cursor}"))
        .bearer(BOB)
        .send()
        .await;
    foreign.problem(400, "INVALID_CURSOR");
    for other in ["&filter=x", "&cursor2=x", "&CURSOR=x"] {
        get(&service, &format!("/pages?cursor={cursor}{other}"))
            .await
            .problem(400, "INVALID_CURSOR");
    }
    let path = format!("/pages?cursor={cursor}");
    let (once, again) = (get(&service, &path).await, get(&service, &path).await);
    assert_eq!(
        (once.status.as_u16(), &once.body),
        (200, &again.body),
        "a cursor can be used again"
    );
}

#[tokio::test]
async fn limits_that_are_not_whole_numbers_above_zero_are_a_400() {
    let service = service().await;
    for limit in ["1e9", "-1", "0", "1.5", "0x10", "", "%00", "NaN", "١"] {
        let path = format!("/pages?limit={limit}");
        assert_eq!(parameter(&get(&service, &path).await), "limit", "{limit}");
    }
    let many = get(&service, &format!("/pages?limit={NUMBER}"))
        .await
        .json();
    assert_eq!(
        many["data"].as_array().expect("items").len(),
        3,
        "a limit above the maximum is lowered"
    );
}

#[tokio::test]
async fn invalid_and_too_high_page_numbers_are_a_400() {
    let service = service().await;
    for page in [
        "-1",
        "0",
        "1e9",
        "1.5",
        "",
        "%00",
        "%ff",
        "+1",
        NUMBER,
        "4294967296",
        "4294967295",
        "201",
    ] {
        assert_eq!(
            parameter(&get(&service, &format!("/counted?page={page}")).await),
            "page",
            "{page}"
        );
    }
    assert_eq!(
        parameter(&get(&service, "/counted?limit=1e9").await),
        "limit"
    );
    assert_eq!(
        parameter(&get(&service, "/counted?page=1&page=1").await),
        "page"
    );
    let last = get(&service, "/counted?page=200").await.json();
    assert_eq!(last["data"][49], 9_999);
}

#[tokio::test]
async fn numbers_of_40_digits_are_rejected() {
    let service = service().await;
    assert_eq!(
        parameter(&get(&service, &format!("/numbered/{NUMBER}")).await),
        "number"
    );
    assert_eq!(
        parameter(&get(&service, &format!("/search?count={NUMBER}")).await),
        "count"
    );
    let reply = post(&service, format!(r#"{{"name":"x","count":{NUMBER}}}"#)).await;
    assert_eq!(
        reply.problem(422, "VALIDATION_FAILED")["errors"][0]["pointer"],
        "#/count"
    );
    post(&service, r#"{"name":"x","count":1e999}"#)
        .await
        .problem(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn lone_surrogates_are_a_400() {
    let service = service().await;
    for text in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\u0041"] {
        let reply = post(&service, format!(r#"{{"name":"{text}","count":1}}"#)).await;
        reply.problem(400, "MALFORMED_JSON");
    }
    assert_eq!(parameter(&get(&service, "/named/%ED%A0%80").await), "name");
    assert_eq!(
        parameter(&get(&service, "/search?name=%ED%A0%80").await),
        "name"
    );
}

#[tokio::test]
async fn duplicate_members_are_rejected() {
    let service = service().await;
    for body in [
        r#"{"name":"a","name":"b","count":1}"#,
        r#"{"count":1,"name":"a","count":1}"#,
    ] {
        let problem = post(&service, body).await.problem(422, "VALIDATION_FAILED");
        assert!(
            problem["errors"][0]["detail"]
                .as_str()
                .expect("text")
                .contains("duplicate"),
            "{problem}"
        );
    }
    assert_eq!(service.app.effects(), 0);
    assert_eq!(
        parameter(&get(&service, "/search?count=1&count=2").await),
        "count"
    );
}

#[tokio::test]
async fn bodies_with_100_000_nested_brackets_are_rejected() {
    let service = service().await;
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let objects = r#"{"name":"#.repeat(100_000);
    for body in [
        open.clone(),
        objects,
        format!(r#"{{"name":{open},"count":1}}"#),
    ] {
        post(&service, body).await.problem(400, "MALFORMED_JSON");
    }
    for body in [
        format!("{open}{close}"),
        format!(r#"{{"name":{open}{close},"count":1}}"#),
    ] {
        post(&service, body).await.problem(422, "VALIDATION_FAILED");
    }
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn invalid_utf_8_in_path_or_query_is_a_400() {
    let service = service().await;
    for bytes in ["%ff", "%C3", "%C3%28", "a%80b", "%F8%88%80%80%80"] {
        assert_eq!(
            parameter(&get(&service, &format!("/named/{bytes}")).await),
            "name",
            "{bytes}"
        );
        assert_eq!(
            parameter(&get(&service, &format!("/search?count=1&name={bytes}")).await),
            "name",
            "{bytes}"
        );
        let filtered = get(&service, &format!("/pages?filter={bytes}")).await;
        assert_eq!(parameter(&filtered), "filter", "{bytes}");
    }
    get(&service, "/search?%ff=1")
        .await
        .problem(400, "INVALID_PARAMETER");
    assert_eq!(get(&service, "/search?name=%C3%A9").await.body, "é0");
    let invalid = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat();
    assert_rejected_by_hyper(&service, &invalid(b"/named/\xff"), 400).await;
    assert_rejected_by_hyper(&service, &invalid(b"/search?name=\xff"), 400).await;
}

#[tokio::test]
async fn a_header_of_40_kb_is_a_431() {
    let service = service().await;
    for size in [33_000, 60_000] {
        let request = format!(
            "{}x-long: {}\r\n\r\n",
            head("GET /numbered/1 HTTP/1.1"),
            "x".repeat(size)
        );
        assert_problem(&service, request.as_bytes(), 431, "HEADERS_TOO_LARGE").await;
    }
    let request = format!(
        "{}{}\r\n",
        head("GET /numbered/1 HTTP/1.1"),
        "x-field: 1\r\n".repeat(200)
    );
    assert_rejected_by_hyper(&service, request.as_bytes(), 431).await;
}

/// Sends a request without a body over HTTP/2, and checks the problem.
async fn assert_http2_problem(
    service: &TestService,
    request: http::request::Builder,
    status: u16,
    code: &str,
) {
    let stream = tokio::net::TcpStream::connect(service.server.address())
        .await
        .expect("a connection");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let request = request.header("authorization", format!("Bearer {ALICE}"));
    let request = request.body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("a stream");
    let response = response.await.expect("a response");
    assert_eq!(response.status(), status, "{code}");
    let id = response.headers()["x-request-id"].clone();
    let mut body = response.into_body();
    let document = body.data().await.expect("a document").expect("a document");
    let document: serde_json::Value = serde_json::from_slice(&document).expect("JSON");
    assert_eq!(document["code"], code);
    assert_eq!(document["request_id"], id.to_str().expect("ASCII"));
    drop((client, body));
    let _ = driving.await;
}

#[tokio::test]
async fn http2_requests_have_the_same_limits_of_their_head() {
    let service = service().await;
    let uri = |path: &str| http::Request::get(format!("http://x{path}"));
    let target = format!("/named/{}", "a".repeat(20_000));
    assert_http2_problem(&service, uri(&target), 414, "URI_TOO_LONG").await;
    let long = uri("/numbered/1").header("x-long", "x".repeat(33_000));
    assert_http2_problem(&service, long, 431, "HEADERS_TOO_LARGE").await;
    let many = (0..200).fold(uri("/numbered/1"), |request, number| {
        request.header(format!("x-{number}"), "v")
    });
    assert_http2_problem(&service, many, 431, "HEADERS_TOO_LARGE").await;
}

#[tokio::test]
async fn http2_requests_name_one_valid_host() {
    let service = service().await;
    for (authority, hosts) in [
        ("x", &["y"][..]),
        ("x", &["x", "x"]),
        ("x", &["a b/c@"]),
        ("user@x", &[]),
    ] {
        let uri = format!("http://{authority}/numbered/1");
        let request = hosts.iter().fold(http::Request::get(uri), |request, host| {
            request.header("host", *host)
        });
        assert_http2_problem(&service, request, 400, "BAD_REQUEST").await;
    }
    for host in ["", "a b/c@", "a:b"] {
        let request = format!(
            "GET /numbered/1 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ALICE}\r\n\r\n"
        );
        assert_problem(&service, request.as_bytes(), 400, "BAD_REQUEST").await;
    }
}

/// hyper closes the connection while there are unread bytes. This resets the connection, so the
/// client may not receive the 431.
#[tokio::test]
async fn a_header_of_10_mb_closes_the_connection() {
    let service = service().await;
    let request = format!(
        "{}x-long: {}\r\n\r\n",
        head("GET /numbered/1 HTTP/1.1"),
        "x".repeat(10_000_000)
    );
    let reply = service
        .client
        .raw()
        .await
        .exchange(request.as_bytes())
        .await;
    let text = String::from_utf8_lossy(&reply);
    assert!(
        reply.is_empty() || text.starts_with("HTTP/1.1 431 "),
        "{text}"
    );
    assert_eq!(
        get(&service, "/numbered/1").await.body,
        "1",
        "the service stays available"
    );
}

#[tokio::test]
async fn a_request_line_of_20_kb_is_a_414() {
    let service = service().await;
    for size in [20_000, 60_000] {
        for target in [
            format!("/named/{}", "a".repeat(size)),
            format!("/search?name={}", "a".repeat(size)),
        ] {
            let request = format!("{}\r\n", head(&format!("GET {target} HTTP/1.1")));
            assert_problem(&service, request.as_bytes(), 414, "URI_TOO_LONG").await;
        }
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_content_length_is_a_400() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    let fields = "content-type: application/json\r\ncontent-length: 100\r\n\r\n";
    raw.write(&format!(
        "{}{fields}{{\"name\"",
        head("POST /things HTTP/1.1")
    ))
    .await;
    raw.end().await;
    let text = raw.response().await;
    assert!(
        text.starts_with("HTTP/1.1 400 ") && text.contains("BODY_INCOMPLETE"),
        "{text}"
    );
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn an_incomplete_body_is_a_400_for_every_extractor() {
    let service = service().await;
    for (path, media) in [("/things", "application/json"), ("/texts", "text/plain")] {
        for body in [
            "content-length: 100\r\n\r\n{}",
            "transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        ] {
            let mut raw = service.client.raw().await;
            raw.write(&format!(
                "{}content-type: {media}\r\n{body}",
                head(&format!("POST {path} HTTP/1.1"))
            ))
            .await;
            raw.end().await;
            let text = raw.response().await;
            assert!(
                text.starts_with("HTTP/1.1 400 ") && text.contains("BODY_INCOMPLETE"),
                "{path}: {text}"
            );
        }
    }
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn conflicting_body_lengths_are_a_400() {
    let service = service().await;
    let body = r#"{"name":"x","count":1}"#;
    let post = head("POST /things HTTP/1.1") + "content-type: application/json\r\n";
    for fields in [
        "content-length: 22\r\ncontent-length: 21",
        "content-length: 22, 21",
        "content-length: +22",
        "content-length: -1",
        "content-length: 0x16",
        "content-length: 99999999999999999999999",
        "transfer-encoding: gzip",
        "content length: 22",
    ] {
        let request = format!("{post}{fields}\r\n\r\n{body}");
        assert_rejected_by_hyper(&service, request.as_bytes(), 400).await;
    }
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_a_400() {
    let service = service().await;
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: \x00\r\n\r\n",
    ] {
        assert_rejected_by_hyper(&service, request, 400).await;
    }
}

#[tokio::test]
async fn a_missing_or_repeated_host_is_a_400() {
    let service = service().await;
    assert_problem(
        &service,
        b"GET /numbered/1 HTTP/1.1\r\n\r\n",
        400,
        "BAD_REQUEST",
    )
    .await;
    assert_problem(
        &service,
        b"GET /numbered/1 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        400,
        "BAD_REQUEST",
    )
    .await;
    assert_problem(
        &service,
        b"GET http://c/numbered/1 HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        400,
        "BAD_REQUEST",
    )
    .await;
    let mut old = service.client.raw().await;
    old.write(&format!(
        "GET /numbered/1 HTTP/1.0\r\nauthorization: Bearer {ALICE}\r\n\r\n"
    ))
    .await;
    let text = old.response().await;
    assert!(text.starts_with("HTTP/1.0 200"), "{text}");
}

#[tokio::test]
async fn an_invalid_pipelined_request_is_a_400_after_the_first_response() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    let good = format!("{}\r\n", head("GET /numbered/7 HTTP/1.1"));
    raw.write(&format!("{good}GET / HTTP/1.1\r\n: x\r\n\r\n"))
        .await;
    let first = raw.response().await;
    assert!(
        first.starts_with("HTTP/1.1 200") && first.ends_with("\r\n7"),
        "{first}"
    );
    let second = raw.response().await;
    assert!(second.starts_with("HTTP/1.1 400"), "{second}");
    assert!(raw.is_closed().await);
}
