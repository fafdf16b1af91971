//! Clients behind proxies. The peer is this machine. Some tests trust it as a proxy, and others do
//! not.

use aplomb::prelude::*;
use aplomb::testing::ClientResponse;
use aplomb::{ForwardedField, StartErrors, routes};

use crate::app::{ALICE, TestService};

/// Counts requests by client address. No token is refilled during a test.
#[endpoint(get = "/public", public, rate_limit("2/day", by = ip))]
async fn public() {}

/// Counts requests by caller; if a request has no caller, by client address.
#[endpoint(get = "/either", public, rate_limit("2/day"))]
async fn either() {}

/// Needs a caller.
#[endpoint(get = "/me")]
async fn me(caller: Caller) -> String {
    caller.id().to_owned()
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

async fn service(adjust: impl FnOnce(Api<crate::app::App>) -> Api<crate::app::App>) -> TestService {
    TestService::start_with(routes![public, either, me], adjust).await
}

async fn service_with_trusted_proxy() -> TestService {
    service(|api| api.trusted_proxies("127.0.0.1")).await
}

async fn get(service: &TestService, path: &str, fields: &[(&str, &str)]) -> ClientResponse {
    let call = fields
        .iter()
        .fold(service.client.get(path), |call, (name, value)| {
            call.header(name, value)
        });
    call.send().await
}

/// Returns the statuses of consecutive requests with these fields.
async fn statuses(service: &TestService, path: &str, requests: &[&[(&str, &str)]]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for fields in requests {
        statuses.push(get(service, path, fields).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn b10_clients_behind_a_trusted_proxy_have_separate_buckets() {
    let service = service_with_trusted_proxy().await;
    for path in ["/public", "/either"] {
        let (one, other) = (
            &[(X_FORWARDED_FOR, "203.0.113.1")][..],
            &[(X_FORWARDED_FOR, "203.0.113.2")][..],
        );
        let statuses = statuses(&service, path, &[one, one, one, other, other, other, &[]]).await;
        assert_eq!(statuses, [200, 200, 429, 200, 200, 429, 200], "{path}");
    }
}

#[tokio::test]
async fn b10_a_spoofer_behind_a_trusted_proxy_cannot_escape_its_limit() {
    let service = service_with_trusted_proxy().await;
    let statuses = statuses(
        &service,
        "/public",
        &[
            &[(X_FORWARDED_FOR, "198.51.100.1, 203.0.113.1")],
            &[
                (X_FORWARDED_FOR, "198.51.100.2"),
                (X_FORWARDED_FOR, "203.0.113.1"),
            ],
            &[(X_FORWARDED_FOR, "127.0.0.1, 203.0.113.1")],
            &[(X_FORWARDED_FOR, "nonsense,,, 203.0.113.1:4711")],
            &[
                (FORWARDED, "for=198.51.100.3"),
                (X_FORWARDED_FOR, "203.0.113.1"),
            ],
            &[(X_FORWARDED_FOR, "::ffff:203.0.113.1, 127.0.0.1")],
        ],
    )
    .await;
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429]);
}

#[tokio::test]
async fn b10_forwarded_fields_of_an_untrusted_peer_are_ignored() {
    for proxies in [None, Some("203.0.113.0/24, ::1")] {
        let service = service(|api| proxies.into_iter().fold(api, Api::trusted_proxies)).await;
        let (one, other) = (
            &[(X_FORWARDED_FOR, "203.0.113.1")][..],
            &[(FORWARDED, "for=203.0.113.2")][..],
        );
        assert_eq!(
            statuses(&service, "/public", &[one, other, &[]]).await,
            [200, 200, 429],
            "{proxies:?}"
        );
    }
}

#[tokio::test]
async fn b10_requests_with_unreadable_hops_share_the_bucket_of_the_peer() {
    let service = service_with_trusted_proxy().await;
    let statuses = statuses(
        &service,
        "/public",
        &[
            &[(X_FORWARDED_FOR, "203.0.113.1, unknown")],
            &[(X_FORWARDED_FOR, "_hidden")],
            &[],
        ],
    )
    .await;
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn b10_the_forwarded_field_is_used_if_it_is_configured() {
    let service = service(|api| {
        api.trusted_proxies("127.0.0.0/8")
            .forwarded_field(ForwardedField::Forwarded)
    })
    .await;
    let one = "for=198.51.100.1, For=\"[2001:db8:0:1::1]:4711\";proto=https";
    let statuses = statuses(
        &service,
        "/public",
        &[
            &[(FORWARDED, one)],
            // The address in `Forwarded` is in the same /64 as before. `X-Forwarded-For` is
            // ignored.
            &[
                (X_FORWARDED_FOR, "203.0.113.1"),
                (FORWARDED, "for=\"[2001:db8:0:1::2]\", for=127.0.0.9"),
            ],
            &[(X_FORWARDED_FOR, "203.0.113.2"), (FORWARDED, one)],
            &[(FORWARDED, "for=\"[2001:db8:0:2::1]\"")],
        ],
    )
    .await;
    assert_eq!(statuses, [200, 200, 429, 200]);
}

#[tokio::test]
async fn b10_failed_authentication_is_limited_by_the_client_address() {
    let service = service_with_trusted_proxy().await;
    let send_wrong_key = async |value: &str| {
        service
            .client
            .get("/me")
            .bearer("sk_test_wrong")
            .header(X_FORWARDED_FOR, value)
            .send()
            .await
    };
    for other in 0..100 {
        assert_eq!(
            send_wrong_key(&format!("198.51.100.{other}, 203.0.113.1"))
                .await
                .status,
            401
        );
    }
    send_wrong_key("198.51.100.200, 203.0.113.1")
        .await
        .problem(429, "RATE_LIMITED");
    assert_eq!(
        send_wrong_key("203.0.113.2").await.status,
        401,
        "other addresses are not limited"
    );
    let reply = service
        .client
        .get("/me")
        .bearer(ALICE)
        .header(X_FORWARDED_FOR, "203.0.113.1")
        .send()
        .await;
    assert_eq!(reply.body, "alice");
}

#[tokio::test]
async fn b10_invalid_trusted_proxies_are_start_errors() {
    let api: Api<()> = Api::new("test", routes![public])
        .instances(0)
        .trusted_proxies("10.0.0.1/8, proxy,::1/129");
    let errors: StartErrors = api.into_router(()).await.expect_err("must not start");
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[0].starts_with("Api::instances(0)"), "{errors:?}");
    for (error, entry) in errors[1..].iter().zip(["10.0.0.1/8", "proxy", "::1/129"]) {
        let prefix =
            format!("Api::trusted_proxies(\"10.0.0.1/8, proxy,::1/129\"): entry `{entry}`: ");
        assert!(error.starts_with(&prefix), "{errors:?}");
    }
}
