//! An API that is nested under a prefix of another axum application, next to other routes.

use aplomb::prelude::*;
use aplomb::{ResponseLocation, Uri, routes};
use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::app::serve;

/// A thing.
#[derive(Serialize)]
struct Thing {
    id: u64,
}

/// The path parameters of an endpoint. They are read by name, because the prefix can have
/// parameters too.
#[derive(Serialize, Deserialize)]
struct ThingId {
    id: u64,
}

const SEVENTH: ThingId = ThingId { id: 7 };

/// Reads a thing.
#[endpoint(
    get = "/things/{id}",
    version = 1,
    deprecated = "2026-01-01",
    sunset("2026-01-31", info = "/changes"),
    successor = thing_v2
)]
async fn thing(Path(ThingId { id }): Path<ThingId>) -> Json<Thing> {
    Json(Thing { id })
}

/// Reads a thing in version 2.
#[endpoint(get = "/things/{id}", version = 2)]
async fn thing_v2(Path(ThingId { id }): Path<ThingId>) -> Json<Thing> {
    Json(Thing { id })
}

/// Creates a thing.
#[endpoint(post = "/things", version = 1, idempotent(anonymous))]
async fn make() -> Created<Thing> {
    Created::new(Thing { id: 7 }).with_location(thing_v2::uri(&SEVENTH))
}

/// Creates a thing. Only the `Location` of the response is stored.
#[endpoint(
    post = "/large",
    version = 1,
    idempotent(anonymous, max_stored_body = "0B")
)]
async fn make_large() -> Created<Thing> {
    Created::new(Thing { id: 7 }).with_location(thing_v2::uri(&SEVENTH))
}

/// Creates a thing whose location is a URI or a text instead of an endpoint link.
#[endpoint(
    put = "/elsewhere/{what}",
    version = 1,
    idempotent(optional, anonymous)
)]
async fn put_with_location(Path(what): Path<String>) -> Created<Thing> {
    let created = Created::new(Thing { id: 7 });
    match what.as_str() {
        "host" => created.with_location("https://other.example/v2/things/7"),
        "file" => created.with_location("/files/7"),
        "relative" => created.with_location(String::from("../things/7?a=b#c")),
        "lookalike" => created.with_location("/v2/things/7".parse::<Uri>().expect("a URI")),
        "converted" => created.with_location(Uri::from(thing_v2::uri(&SEVENTH))),
        _ => created.with_location(format!("/api{}", thing_v2::uri(&SEVENTH))),
    }
}

/// Redirects to an endpoint link.
#[endpoint(post = "/forms", version = 1, not_idempotent = "keeps nothing")]
async fn form() -> (StatusCode, ResponseLocation) {
    (StatusCode::SEE_OTHER, thing_v2::uri(&SEVENTH).into())
}

/// Redirects with a `Location` that the handler writes itself.
#[endpoint(post = "/forms/by_hand", version = 1, not_idempotent = "keeps nothing")]
async fn form_by_hand() -> Redirect {
    Redirect::to(&thing_v2::uri(&SEVENTH).to_string())
}

#[derive(CursorKey)]
struct Above {
    #[cursor(unique)]
    number: u32,
}

/// Lists numbers.
#[endpoint(get = "/numbers", version = 1, paginate(cursor, max = 2))]
async fn numbers(page: PageRequest<Above>) -> Page<u32> {
    let after = page.after().map_or(0, |key| key.number);
    page.page(
        (after + 1..10).take(page.fetch_limit()).collect(),
        |number| Above { number: *number },
    )
}

async fn router() -> Router {
    let routes = routes![
        thing,
        thing_v2,
        make,
        make_large,
        put_with_location,
        form,
        form_by_hand,
        numbers
    ];
    let api = Api::new("things", routes).without_auth();
    api.into_router(()).await.expect("a valid API")
}

const UUID: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

#[tokio::test]
async fn e02_successor_links_have_the_prefix_of_an_outer_router() {
    let nested = Router::new().nest(
        "/a",
        Router::new().nest("/tenants/{tenant}", router().await),
    );
    let client = serve(nested.merge(router().await)).await;
    for (prefix, path) in [("", "/v1/things/7"), ("/a/tenants/x%2Fy", "/v1/things/7")] {
        let reply = client.get(&format!("{prefix}{path}")).send().await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["id"]),
            (200, &7.into())
        );
        let successor = format!("<{prefix}/v2/things/7>; rel=\"successor-version\"");
        assert_eq!(
            reply.header_values("link"),
            ["</changes>; rel=\"sunset\"", &successor]
        );
        let rejected = client
            .get(&format!("{prefix}/v1/things/seven"))
            .send()
            .await;
        rejected.problem(400, "INVALID_PARAMETER");
        assert_eq!(
            rejected.header_values("sunset"),
            ["Sat, 31 Jan 2026 23:59:59 GMT"]
        );
    }
}

#[tokio::test]
async fn e02_a_hostile_path_cannot_break_out_of_its_link() {
    let client = serve(Router::new().nest("/tenants/{tenant}", router().await)).await;
    for (path, link) in [
        (
            "/tenants/\u{fc}\"/v1/things/7",
            "/tenants/%C3%BC%22/v2/things/7",
        ),
        (
            "/tenants/a%3E/v1/things/%3E%2e%0d%0a",
            "/tenants/a%3E/v2/things/%3E%2e%0d%0a",
        ),
        (
            "/tenants/{}/v1/things/{\"|}",
            "/tenants/%7B%7D/v2/things/%7B%22%7C%7D",
        ),
    ] {
        let mut raw = client.raw().await;
        raw.write(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
        let response = raw.response().await;
        let expected = format!("link: <{link}>; rel=\"successor-version\"\r\n");
        assert!(response.contains(&expected), "{path}: {response}");
    }
}

#[tokio::test]
async fn e01_a_location_has_the_prefix_of_the_outer_router() {
    // The prefix `/v2` is also the first segment of the path of an endpoint.
    let mut app = router()
        .await
        .nest("/a", Router::new().nest("/b/{c}", router().await));
    for prefix in ["/api", "/v2", "/v1/api", "/tenants/{tenant}"] {
        app = app.nest(prefix, router().await);
    }
    let client = serve(app).await;
    let prefixes = [
        "",
        "/api",
        "/v2",
        "/v1/api",
        "/a/b/c",
        "/tenants/x%2Fy",
        "/tenants/%C3%BC%20%22",
    ];
    for (number, prefix) in prefixes.into_iter().enumerate() {
        for replayed in [false, true] {
            // The path is a part of the request that a retry must repeat, so each prefix needs
            // another key.
            let key = format!("{UUID}-{number}");
            let created = client
                .post(&format!("{prefix}/v1/things"))
                .idempotency_key(&key)
                .send()
                .await;
            assert_eq!(
                (created.status.as_u16(), created.replayed()),
                (201, replayed)
            );
            let location = created.header("location").expect("a location");
            assert_eq!(location, format!("{prefix}/v2/things/7"));
            assert_eq!(client.get(location).send().await.json()["id"], 7);
        }
        let sent = client.post(&format!("{prefix}/v1/forms")).send().await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER);
        assert_eq!(
            sent.header("location"),
            Some(&*format!("{prefix}/v2/things/7"))
        );
    }
}

#[tokio::test]
async fn e01_a_replay_without_its_body_has_a_location_with_the_prefix() {
    let client = serve(Router::new().nest("/api", router().await)).await;
    for (replayed, status) in [(false, 201), (true, 303), (true, 303)] {
        let created = client
            .post("/api/v1/large")
            .idempotency_key(UUID)
            .send()
            .await;
        assert_eq!(
            (created.status.as_u16(), created.replayed()),
            (status, replayed)
        );
        assert_eq!(created.header("location"), Some("/api/v2/things/7"));
    }
}

#[tokio::test]
async fn e01_a_hostile_prefix_cannot_break_out_of_its_location() {
    let client = serve(Router::new().nest("/tenants/{tenant}", router().await)).await;
    for (prefix, location) in [
        ("/tenants/\u{fc}\"", "/tenants/%C3%BC%22/v2/things/7"),
        (
            "/tenants/a%0d%0aset-cookie:%20x",
            "/tenants/a%0d%0aset-cookie:%20x/v2/things/7",
        ),
        ("/tenants/{|}", "/tenants/%7B%7C%7D/v2/things/7"),
    ] {
        let mut raw = client.raw().await;
        raw.write(&format!(
            "POST {prefix}/v1/forms HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        let response = raw.response().await;
        let expected = format!("location: {location}\r\n");
        assert!(response.contains(&expected), "{prefix}: {response}");
    }
}

#[tokio::test]
async fn e01_a_location_that_is_not_an_endpoint_link_is_unchanged() {
    let client = serve(Router::new().nest("/api", router().await)).await;
    for (what, location) in [
        ("host", "https://other.example/v2/things/7"),
        ("file", "/files/7"),
        ("relative", "../things/7?a=b#c"),
        ("lookalike", "/v2/things/7"),
        ("converted", "/v2/things/7"),
        ("whole", "/api/v2/things/7"),
    ] {
        let path = format!("/api/v1/elsewhere/{what}");
        for replayed in [false, true] {
            let created = client
                .request(http::Method::PUT, &path)
                .idempotency_key(&format!("{UUID}{what}"))
                .send()
                .await;
            assert_eq!(
                (created.status.as_u16(), created.replayed()),
                (201, replayed)
            );
            assert_eq!(created.header("location"), Some(location));
        }
        let created = client.request(http::Method::PUT, &path).send().await;
        assert_eq!(
            (created.status.as_u16(), created.header("location")),
            (201, Some(location))
        );
    }
    let sent = client.post("/api/v1/forms/by_hand").send().await;
    assert_eq!(
        (sent.status.as_u16(), sent.header("location")),
        (303, Some("/v2/things/7"))
    );
}

#[tokio::test]
async fn e01_page_links_have_the_prefix_of_the_outer_router() {
    let client = serve(Router::new().nest("/api", router().await)).await;
    let first = client.get("/api/v1/numbers").send().await;
    let link = first.header("link").expect("links").to_owned();
    let next = link
        .split(", ")
        .find(|link| link.contains("rel=\"next\""))
        .expect("a next page");
    let path = next.split(['<', '>']).nth(1).expect("a URI");
    assert!(path.starts_with("/api/v1/numbers?"), "{path}");
    assert_eq!(
        client.get(path).send().await.json()["data"],
        serde_json::json!([3, 4])
    );
}

/// Reads a thing of another API.
#[endpoint(get = "/things/{id}", version = 1)]
async fn other(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[tokio::test]
async fn e01_two_apis_do_not_change_other_routes_or_the_fallback_of_the_outer_router() {
    let second = Api::new("others", routes![other])
        .without_auth()
        .into_router(())
        .await
        .expect("a valid API");
    let app = Router::new()
        .route("/", get(async || "home"))
        .route("/v1/files", post(async || "a file"))
        .merge(router().await)
        .nest("/others", second)
        .fallback(async || (StatusCode::NOT_FOUND, "my own fallback"));
    let client = serve(app).await;
    assert_eq!(client.get("/").send().await.body, "home");
    assert_eq!(client.post("/v1/files").send().await.body, "a file");
    assert_eq!(client.get("/v2/things/7").send().await.json()["id"], 7);
    assert_eq!(client.get("/others/v1/things/7").send().await.body, "7");
    client
        .get("/others/v1/things/x")
        .send()
        .await
        .problem(400, "INVALID_PARAMETER");
    for path in [
        "/v3/things/7",
        "/v01/things/7",
        "/others/v2/things/7",
        "/others",
        "/nothing",
    ] {
        let reply = client.get(path).send().await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (404, &b"my own fallback"[..]),
            "{path}"
        );
        assert!(reply.header("deprecation").is_none(), "{path}");
    }
}
