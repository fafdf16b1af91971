//! The declared size and lifetime of stored responses.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::*;

#[derive(Debug, thiserror::Error, ApiError)]
enum ParcelError {
    #[error("the parcel is open: {}", "x".repeat(500))]
    #[problem(conflict, retryable = true)]
    Open,
    #[error("there is no such parcel: {}", "x".repeat(500))]
    #[problem(not_found)]
    Missing,
}

/// Returns what the path selects: an error, a redirect, an empty response, or a number of bytes.
fn parcel(what: &str) -> Result<Response, ParcelError> {
    let location = [("location", "/parcels/1")];
    let bytes = |count: &str| "x".repeat(count.parse().expect("a number of bytes"));
    Ok(match what.split_once('-') {
        Some(("bare", count)) => (StatusCode::CREATED, bytes(count)).into_response(),
        Some((_, count)) => {
            (StatusCode::PERMANENT_REDIRECT, location, bytes(count)).into_response()
        }
        None if what == "open" => return Err(ParcelError::Open),
        None if what == "missing" => return Ok((location, ParcelError::Missing).into_response()),
        None if what == "stream" => {
            (StatusCode::CREATED, location, body_of_unknown_length()).into_response()
        }
        None if what == "nothing" => StatusCode::NO_CONTENT.into_response(),
        None => (StatusCode::CREATED, location, bytes(what)).into_response(),
    })
}

/// Returns a short body of unknown length.
fn body_of_unknown_length() -> Body {
    Body::new(Full::new(Bytes::from_static(b"short")).map_frame(|frame| frame))
}

#[endpoint(post = "/usual/{what}", idempotent)]
async fn usual(State(app): State<App>, Path(what): Path<String>) -> Result<Response, ParcelError> {
    app.effect();
    parcel(&what)
}

#[endpoint(
    post = "/little/{what}",
    idempotent(max_stored_body = "1KiB", ttl = "7d")
)]
async fn little(State(app): State<App>, Path(what): Path<String>) -> Result<Response, ParcelError> {
    app.effect();
    parcel(&what)
}

#[endpoint(
    post = "/much/{what}",
    idempotent(max_stored_body = "2MiB", ttl = "30min")
)]
async fn much(State(app): State<App>, Path(what): Path<String>) -> Result<Response, ParcelError> {
    app.effect();
    parcel(&what)
}

#[endpoint(post = "/none/{what}", idempotent(max_stored_body = "0B"))]
async fn none(State(app): State<App>, Path(what): Path<String>) -> Result<Response, ParcelError> {
    app.effect();
    parcel(&what)
}

async fn parcel_service() -> TestService {
    TestService::start(aplomb::routes![usual, little, much, none]).await
}

/// Returns the first response and its replay.
async fn first_and_replay(service: &TestService, path: &str) -> (ClientResponse, ClientResponse) {
    let before = service.app.effects();
    let send = || {
        service
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key(path)
            .send()
    };
    let (first, second) = (send().await, send().await);
    assert!(!first.replayed() && second.replayed(), "{path}");
    assert_eq!(second.header("cache-control"), Some("no-store"), "{path}");
    assert_eq!(service.app.effects(), before + 1, "{path}");
    (first, second)
}

#[tokio::test]
async fn a21_bodies_up_to_the_declared_size_are_stored() {
    let service = parcel_service().await;
    for path in [
        "/usual/1048576",
        "/little/1024",
        "/much/1048577",
        "/much/2097152",
        "/none/nothing",
    ] {
        let (first, replay) = first_and_replay(&service, path).await;
        assert_eq!(
            (replay.status, &replay.body),
            (first.status, &first.body),
            "{path}"
        );
        assert_eq!(
            replay.header("location"),
            first.header("location"),
            "{path}"
        );
    }
    for path in [
        "/usual/1048577",
        "/little/1025",
        "/much/2097153",
        "/none/1",
        "/usual/stream",
    ] {
        let (first, replay) = first_and_replay(&service, path).await;
        assert_eq!(first.status, 201, "{path}");
        assert_eq!(
            (replay.status.as_u16(), replay.header("location")),
            (303, Some("/parcels/1")),
            "{path}"
        );
        assert!(replay.body.is_empty(), "{path}");
    }
    for path in ["/usual/bare-1048577", "/little/bare-1025", "/none/bare-1"] {
        let (first, replay) = first_and_replay(&service, path).await;
        assert_eq!(first.status, 201, "{path}");
        replay.problem(410, "IDEMPOTENCY_RESPONSE_NOT_RETAINED");
    }
}

#[tokio::test]
async fn a21_a_failure_without_a_stored_body_is_never_replayed_as_a_success() {
    let service = parcel_service().await;
    for (path, status, code, replayed_code) in [
        ("/none/open", 409, "OPEN", "CONFLICT"),
        ("/none/missing", 404, "MISSING", "NOT_FOUND"),
    ] {
        let (first, replay) = first_and_replay(&service, path).await;
        first.problem(status, code);
        let problem = replay.problem(status, replayed_code);
        assert_eq!(problem["retryable"], false);
        assert_eq!(
            problem["request_id"],
            replay.header("x-request-id").expect("an id")
        );
        assert!(replay.header("location").is_none(), "{path}");
    }
    let (first, replay) = first_and_replay(&service, "/none/moved-9").await;
    assert_eq!(
        (first.status, replay.status, replay.header("location")),
        (
            StatusCode::PERMANENT_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
            Some("/parcels/1")
        )
    );
}

#[tokio::test]
async fn a22_the_400_of_a_missing_key_states_the_ttl() {
    let service = parcel_service().await;
    for (path, ttl) in [
        ("/usual/1", "24 h"),
        ("/little/1", "7 days"),
        ("/much/1", "30 min"),
    ] {
        let reply = service.client.post(path).bearer(ALICE).send().await;
        let problem = reply.problem(400, "IDEMPOTENCY_KEY_MISSING");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(
            detail.ends_with(&format!("the response is stored for {ttl}")),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a22_an_api_lists_the_ttl_and_the_stored_body_size_of_its_endpoints() {
    use aplomb::policies::idempotency::IdempotencyPolicy;
    let api: Api<App> = Api::new("test", aplomb::routes![usual, little, much, none]);
    let promise = |policy| match policy {
        IdempotencyPolicy::Idempotent(idempotency) => {
            (idempotency.ttl.as_secs(), idempotency.max_stored_body)
        }
        other => panic!("{other:?}"),
    };
    let promises: Vec<_> = api
        .endpoints()
        .map(|spec| (spec.path, promise(spec.idempotency)))
        .collect();
    let expected = [
        ("/usual/{what}", (86_400, 1 << 20)),
        ("/little/{what}", (604_800, 1 << 10)),
        ("/much/{what}", (1_800, 2 << 20)),
        ("/none/{what}", (86_400, 0)),
    ];
    assert_eq!(promises, expected);
}
