//! Authentication by API keys.

use core::sync::atomic::{AtomicUsize, Ordering};

use aplomb::auth::{Authenticate, Authentication};
use aplomb::prelude::*;
use aplomb::routes;
use http::HeaderValue;
use http::request::Parts;

use crate::app::{ALICE, App, BOB, TestService};

/// Returns the id of the caller.
#[endpoint(get = "/me")]
async fn me(caller: Caller) -> String {
    caller.id().to_owned()
}

/// Returns the id of the caller, if there is one.
#[endpoint(get = "/hello", public)]
async fn hello(caller: Option<Caller>) -> String {
    caller.map_or_else(|| String::from("stranger"), |caller| caller.id().to_owned())
}

async fn service() -> TestService {
    TestService::start(routes![me, hello]).await
}

#[tokio::test]
async fn an_api_key_identifies_the_caller() {
    let service = service().await;
    assert_eq!(
        service.client.get("/me").bearer(ALICE).send().await.body,
        "alice"
    );
    assert_eq!(
        service.client.get("/me").bearer(BOB).send().await.body,
        "bob"
    );
}

#[tokio::test]
async fn missing_or_invalid_credentials_are_a_401_with_a_challenge() {
    let service = service().await;
    let reply = service.client.get("/me").send().await;
    let problem = reply.problem(401, "UNAUTHENTICATED");
    assert_eq!(
        (
            problem["category"].as_str(),
            reply.header("www-authenticate")
        ),
        (Some("auth"), Some("Bearer"))
    );
    for field in [
        "Bearer sk_test_wrong",
        "Bearer",
        "Basic YWxpY2U6",
        "sk_test_alice",
        "Bearer  ",
    ] {
        let reply = service
            .client
            .get("/me")
            .header("authorization", field)
            .send()
            .await;
        reply.problem(401, "UNAUTHENTICATED");
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\""),
            "{field}"
        );
    }
    let two_keys = service
        .client
        .get("/me")
        .bearer(ALICE)
        .bearer(BOB)
        .send()
        .await;
    two_keys.problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn b11_an_address_that_guesses_keys_gets_a_429_and_other_callers_do_not() {
    let service = service().await;
    for _ in 0..100 {
        assert_eq!(
            service
                .client
                .get("/me")
                .bearer("sk_test_wrong")
                .send()
                .await
                .status,
            401
        );
    }
    let rejected = service
        .client
        .get("/me")
        .bearer("sk_test_wrong")
        .send()
        .await;
    assert_eq!(rejected.problem(429, "RATE_LIMITED")["retryable"], true);
    assert!(rejected.header_number("retry-after") >= 1);
    assert_eq!(
        service.client.get("/me").bearer(ALICE).send().await.body,
        "alice"
    );
}

#[tokio::test]
async fn b13_a_public_endpoint_reads_credentials_and_rejects_wrong_ones() {
    let service = service().await;
    assert_eq!(service.client.get("/hello").send().await.body, "stranger");
    let wrong = service.client.get("/hello").bearer("sk_test_wrong");
    wrong.send().await.problem(401, "UNAUTHENTICATED");
    assert_eq!(
        service.client.get("/hello").bearer(ALICE).send().await.body,
        "alice"
    );
}

/// Needs a caller although the endpoint is public.
#[endpoint(get = "/mine", public)]
async fn mine(caller: Caller) -> String {
    caller.id().to_owned()
}

#[tokio::test]
async fn a_public_handler_with_a_caller_argument_sends_a_challenge() {
    let service = TestService::start(routes![mine]).await;
    let reply = service.client.get("/mine").send().await;
    reply.problem(401, "UNAUTHENTICATED");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
}

/// Authentication that responds immediately, or after it has yielded once.
#[derive(Debug)]
struct TestAuth {
    immediate: bool,
    result: fn() -> Authentication,
}

impl Authenticate for TestAuth {
    async fn authenticate(&self, _: &Parts) -> Authentication {
        if !self.immediate {
            tokio::task::yield_now().await;
        }
        (self.result)()
    }

    fn is_immediate(&self) -> bool {
        self.immediate
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Odd")
    }
}

#[tokio::test]
async fn f01_a_panic_in_immediate_or_deferred_authentication_is_a_problem_document() {
    for immediate in [true, false] {
        let auth = TestAuth {
            immediate,
            result: || panic!("as requested"),
        };
        let service = TestService::start_with(routes![me], |api| api.auth(auth)).await;
        service
            .client
            .get("/me")
            .bearer(ALICE)
            .send()
            .await
            .problem(500, "INTERNAL");
    }
}

#[tokio::test]
async fn immediate_and_deferred_authentication_find_the_caller() {
    for immediate in [true, false] {
        let auth = TestAuth {
            immediate,
            result: || Authentication::Caller(Caller::new("alice")),
        };
        let service = TestService::start_with(routes![me], |api| api.auth(auth)).await;
        assert_eq!(service.client.get("/me").send().await.body, "alice");
    }
}

#[tokio::test]
async fn immediate_and_deferred_authentication_reject_missing_credentials() {
    for immediate in [true, false] {
        let auth = TestAuth {
            immediate,
            result: || Authentication::Missing,
        };
        let service = TestService::start_with(routes![me], |api| api.auth(auth)).await;
        let reply = service.client.get("/me").send().await;
        reply.problem(401, "UNAUTHENTICATED");
        assert_eq!(reply.header("www-authenticate"), Some("Odd"));
    }
}

/// Authentication that accepts only the first request, like a service for single-use tokens.
#[derive(Debug, Default)]
struct OneTimeProofs(AtomicUsize);

impl Authenticate for OneTimeProofs {
    async fn authenticate(&self, _: &Parts) -> Authentication {
        let is_first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        tokio::task::yield_now().await;
        if is_first {
            Authentication::Caller(Caller::new("alice"))
        } else {
            Authentication::Invalid("the proof was used before")
        }
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Once")
    }
}

#[tokio::test]
async fn a_request_is_authenticated_only_once() {
    let service =
        TestService::start_with(routes![me], |api| api.auth(OneTimeProofs::default())).await;
    assert_eq!(service.client.get("/me").send().await.body, "alice");
}

/// Authentication that waits, although `is_immediate` returns `true`.
#[derive(Debug)]
struct Waiting;

impl Authenticate for Waiting {
    async fn authenticate(&self, _: &Parts) -> Authentication {
        tokio::task::yield_now().await;
        Authentication::Missing
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}

#[tokio::test]
async fn immediate_authentication_that_waits_is_unavailable() {
    let service = TestService::start_with(routes![me], |api| api.auth(Waiting)).await;
    let response = service.client.get("/me").bearer(ALICE).send().await;
    response.problem(503, "AUTHENTICATION_UNAVAILABLE");
}

/// Authentication by a session cookie. With `session=down`, the session service is unavailable.
#[derive(Debug)]
pub(crate) struct Sessions;

impl Authenticate for Sessions {
    async fn authenticate(&self, head: &Parts) -> Authentication {
        match head.headers.get("cookie").map(HeaderValue::as_bytes) {
            None => Authentication::Missing,
            Some(b"session=alice") => Authentication::Caller(Caller::new("alice")),
            Some(b"session=down") => Authentication::Unavailable("the service is down".to_owned()),
            Some(_) => Authentication::Invalid("the session is unknown"),
        }
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Cookie")
    }
}

#[tokio::test]
async fn b13_a_public_endpoint_calls_an_authenticator_that_reads_cookies() {
    let service = TestService::start_with(routes![hello], |api| api.auth(Sessions)).await;
    let get = async |cookie: &str| {
        let request = service.client.get("/hello").header("cookie", cookie);
        request.send().await
    };
    assert_eq!(service.client.get("/hello").send().await.body, "stranger");
    assert_eq!(get("session=alice").await.body, "alice");
    let unknown = get("session=bob").await;
    unknown.problem(401, "UNAUTHENTICATED");
    assert_eq!(unknown.header("www-authenticate"), Some("Cookie"));
}

#[tokio::test]
async fn b13_an_unavailable_authenticator_is_a_retryable_503() {
    let service = TestService::start_with(routes![hello, me], |api| api.auth(Sessions)).await;
    for path in ["/hello", "/me"] {
        let request = service.client.get(path).header("cookie", "session=down");
        let response = request.send().await;
        let problem = response.problem(503, "AUTHENTICATION_UNAVAILABLE");
        assert_eq!(problem["retryable"], true);
        assert_eq!(response.header("retry-after"), Some("1"));
    }
}

/// Counts its runs. Accepts requests with and without a caller.
#[endpoint(post = "/votes", public, idempotent(anonymous))]
async fn vote(State(app): State<App>) -> String {
    app.effect().to_string()
}

#[tokio::test]
async fn b13_a_retry_with_an_invalid_api_key_on_a_public_endpoint_does_not_run_again() {
    let service = TestService::start(routes![vote]).await;
    let post = async |key: &str| {
        let request = service.client.post("/votes").bearer(key);
        let request = request.header("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324");
        request.send().await
    };
    assert_eq!(post(ALICE).await.status, 200);
    post("sk_test_expired")
        .await
        .problem(401, "UNAUTHENTICATED");
    assert_eq!(service.app.effects(), 1);
    let replay = post(ALICE).await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
}
