//! Versions in the path.

use aplomb::prelude::*;
use aplomb::routes;

use crate::app::TestService;

/// Has version 1.
#[endpoint(get = "/things", version = 1, public)]
async fn things_v1() -> &'static str {
    "one"
}

/// Has versions 2 and 3.
#[endpoint(get = "/things", version = 2..=3, public)]
async fn things_v2() -> &'static str {
    "two"
}

/// Has every version.
#[endpoint(get = "/others", version = 1.., public)]
async fn others() -> &'static str {
    "all"
}

/// Has no version.
#[endpoint(get = "/health", public)]
async fn health() -> &'static str {
    "well"
}

#[tokio::test]
async fn e01_each_version_is_served_by_its_endpoint() {
    let service = TestService::start(routes![things_v1, things_v2, others, health]).await;
    for (path, text) in [
        ("/v1/things", "one"),
        ("/v2/things", "two"),
        ("/v3/things", "two"),
        ("/v1/others", "all"),
        ("/v3/others", "all"),
        ("/health", "well"),
    ] {
        let reply = service.client.get(path).send().await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (200, text.as_bytes()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn e01_an_unknown_version_is_a_404() {
    let service = TestService::start(routes![things_v1, things_v2, others, health]).await;
    for path in [
        "/v4/things",
        "/v0/things",
        "/v4/others",
        "/things",
        "/v01/things",
        "/v1/health",
        "/v99999999999/things",
    ] {
        service
            .client
            .get(path)
            .send()
            .await
            .problem(404, "NOT_FOUND");
    }
}
