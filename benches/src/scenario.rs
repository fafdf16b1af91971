//! The scenarios of the comparison: the same endpoint written by hand, declared without policies,
//! and declared with policies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use aplomb::prelude::*;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing;
use bytes::Bytes;
use http::Request;
use http::request::Builder;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
    email: &'static str,
    active: bool,
}

impl User {
    const fn new(id: u64) -> Self {
        Self {
            id,
            name: "Ada Lovelace",
            email: "ada@example.com",
            active: true,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Payment {
    from: String,
    to: String,
    amount: i64,
    note: Option<String>,
}

/// Returns a user, without policies.
#[endpoint(get = "/users/{id}", public)]
async fn bare_get(Path(id): Path<u64>) -> Json<User> {
    Json(User::new(id))
}

/// Returns a user, with a rate limit by address.
#[endpoint(get = "/users/{id}", public, rate_limit("1000000/s", by = ip))]
async fn limited_get(Path(id): Path<u64>) -> Json<User> {
    Json(User::new(id))
}

/// Returns a user to an authenticated caller.
#[endpoint(get = "/users/{id}", version = 1)]
async fn authenticated_get(Path(id): Path<u64>) -> Json<User> {
    Json(User::new(id))
}

/// Returns a user to an authenticated caller, with a rate limit by caller.
#[endpoint(get = "/users/{id}", version = 1, rate_limit = "1000000/s")]
async fn authenticated_limited_get(Path(id): Path<u64>) -> Json<User> {
    Json(User::new(id))
}

/// Returns a user, with all policies of a GET.
#[endpoint(
    get = "/users/{id}",
    version = 1,
    rate_limit = "1000000/s",
    timeout = "5s"
)]
async fn full_get(Path(id): Path<u64>) -> Json<User> {
    Json(User::new(id))
}

/// The body of a [`Page`].
#[derive(Serialize)]
struct Users {
    data: Vec<User>,
    next_cursor: Option<String>,
    has_more: bool,
}

impl Users {
    fn all() -> Self {
        Self {
            data: users(),
            next_cursor: None,
            has_more: false,
        }
    }
}

fn users() -> Vec<User> {
    (1..=50).map(User::new).collect()
}

/// Lists users without pages.
#[endpoint(get = "/users", public)]
async fn bare_page() -> Json<Users> {
    Json(Users::all())
}

#[derive(CursorKey)]
struct ById {
    #[cursor(unique)]
    id: i64,
}

/// Lists users in pages by cursor.
#[endpoint(get = "/users", public, paginate = cursor)]
async fn cursor_page(page: PageRequest<ById>) -> Page<User> {
    page.page(users(), |user| ById {
        id: user.id.cast_signed(),
    })
}

/// Makes a payment, without policies.
#[endpoint(
    post = "/payments",
    public,
    not_idempotent = "the handler stores nothing"
)]
async fn bare_post(Json(payment): Json<Payment>) -> Created<Payment> {
    Created::new(payment)
}

/// Makes a payment, with authentication and a rate limit.
#[endpoint(
    post = "/payments",
    version = 1,
    not_idempotent = "the handler stores nothing",
    rate_limit = "1000000/s"
)]
async fn limited_post(Json(payment): Json<Payment>) -> Created<Payment> {
    Created::new(payment)
}

/// Makes a payment, with all policies of a POST.
#[endpoint(
    post = "/payments",
    version = 1,
    idempotent,
    rate_limit = "1000000/s",
    timeout = "5s",
    body_limit = "64KiB"
)]
async fn full_post(Json(payment): Json<Payment>) -> Created<Payment> {
    Created::new(payment)
}

async fn handwritten_get(axum::extract::Path(id): axum::extract::Path<u64>) -> axum::Json<User> {
    axum::Json(User::new(id))
}

async fn handwritten_page() -> axum::Json<Users> {
    axum::Json(Users::all())
}

async fn handwritten_post(
    axum::Json(payment): axum::Json<Payment>,
) -> (http::StatusCode, axum::Json<Payment>) {
    (http::StatusCode::CREATED, axum::Json(payment))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    HarnessGet,
    HandwrittenGet,
    GovernorGet,
    BareGet,
    LimitedGet,
    AuthenticatedGet,
    AuthenticatedLimitedGet,
    FullGet,
    HarnessPage,
    HandwrittenPage,
    BarePage,
    CursorPage,
    HarnessPost,
    HandwrittenPost,
    BarePost,
    LimitedPost,
    FullPost,
    Replay,
}

const NAMES: [(&str, Scenario); 18] = [
    ("harness-get", Scenario::HarnessGet),
    ("hand-get", Scenario::HandwrittenGet),
    ("governor-get", Scenario::GovernorGet),
    ("bare-get", Scenario::BareGet),
    ("limited-get", Scenario::LimitedGet),
    ("authenticated-get", Scenario::AuthenticatedGet),
    (
        "authenticated-limited-get",
        Scenario::AuthenticatedLimitedGet,
    ),
    ("full-get", Scenario::FullGet),
    ("harness-page", Scenario::HarnessPage),
    ("hand-page", Scenario::HandwrittenPage),
    ("bare-page", Scenario::BarePage),
    ("cursor-page", Scenario::CursorPage),
    ("harness-post", Scenario::HarnessPost),
    ("hand-post", Scenario::HandwrittenPost),
    ("bare-post", Scenario::BarePost),
    ("limited-post", Scenario::LimitedPost),
    ("full-post", Scenario::FullPost),
    ("replay-post", Scenario::Replay),
];

/// Returns the body of a payment, at least `min_bytes` long. The shortest body has 109 bytes. A
/// longer one has a member `lines`, which the handler ignores.
pub(crate) fn payment(min_bytes: usize) -> Bytes {
    let mut body = String::from(
        r#"{"from":"acc_01HZQK7P3WVXBN4Y9MRDTJC8E6","to":"acc_01HZQK7P3WVXBN4Y9MRDTJC8E7","amount":1250,"note":"rent for May""#,
    );
    let mut separator = r#","lines":["#;
    while body.len() + 1 < min_bytes {
        body.push_str(separator);
        body.push_str(r#"{"article":"art_01HZQK7P3W","quantity":2,"price":625}"#);
        separator = ",";
    }
    body.push_str(if separator == "," { "]}" } else { "}" });
    Bytes::from(body)
}

impl Scenario {
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, scenario)| *scenario)
    }

    pub(crate) fn names() -> Vec<&'static str> {
        NAMES.iter().map(|(name, _)| *name).collect()
    }

    pub(crate) const fn is_harness(self) -> bool {
        matches!(
            self,
            Self::HarnessGet | Self::HarnessPage | Self::HarnessPost
        )
    }

    pub(crate) async fn router(self) -> Router {
        match self {
            Self::HarnessGet | Self::HarnessPage | Self::HarnessPost => Router::new(),
            Self::HandwrittenGet => handwritten_router(),
            Self::GovernorGet => with_governor(handwritten_router()),
            Self::HandwrittenPost => {
                Router::new().route("/payments", routing::post(handwritten_post))
            }
            Self::BareGet => router_without_auth(aplomb::routes![bare_get]).await,
            Self::LimitedGet => router_without_auth(aplomb::routes![limited_get]).await,
            Self::AuthenticatedGet => router(aplomb::routes![authenticated_get]).await,
            Self::AuthenticatedLimitedGet => {
                router(aplomb::routes![authenticated_limited_get]).await
            }
            Self::FullGet => router(aplomb::routes![full_get]).await,
            Self::HandwrittenPage => Router::new().route("/users", routing::get(handwritten_page)),
            Self::BarePage => router_without_auth(aplomb::routes![bare_page]).await,
            Self::CursorPage => router_without_auth(aplomb::routes![cursor_page]).await,
            Self::BarePost => router_without_auth(aplomb::routes![bare_post]).await,
            Self::LimitedPost => router(aplomb::routes![limited_post]).await,
            Self::FullPost | Self::Replay => router(aplomb::routes![full_post]).await,
        }
    }

    pub(crate) fn request(self, number: u64, payment: &Bytes) -> Request<Body> {
        let post = |request, number| post(request, number, payment.clone());
        let request = Request::builder()
            .extension(ConnectInfo(PEER))
            .header("host", "localhost")
            .header("authorization", "Bearer sk_test_alice");
        match self {
            Self::HandwrittenGet | Self::GovernorGet | Self::BareGet | Self::LimitedGet => {
                request.uri("/users/7").body(Body::empty())
            }
            Self::HarnessGet
            | Self::AuthenticatedGet
            | Self::AuthenticatedLimitedGet
            | Self::FullGet => request.uri("/v1/users/7").body(Body::empty()),
            Self::HarnessPage | Self::HandwrittenPage | Self::BarePage | Self::CursorPage => {
                request.uri("/users").body(Body::empty())
            }
            Self::HandwrittenPost | Self::BarePost => post(request.uri("/payments"), number),
            Self::HarnessPost | Self::LimitedPost | Self::FullPost => {
                post(request.uri("/v1/payments"), number)
            }
            Self::Replay => post(request.uri("/v1/payments"), 0),
        }
        .expect("a request")
    }
}

/// The address of the client of all requests.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000);

fn handwritten_router() -> Router {
    Router::new().route("/users/{id}", routing::get(handwritten_get))
}

/// Adds the limiter of `tower_governor` with the same limit as the endpoints above. It counts by
/// client address, and writes the header fields of the limit.
#[cfg(feature = "governor")]
fn with_governor(router: Router) -> Router {
    let config = tower_governor::governor::GovernorConfigBuilder::default()
        .per_nanosecond(1_000)
        .burst_size(1_000_000)
        .use_headers()
        .finish();
    router.layer(tower_governor::GovernorLayer::new(
        config.expect("a rate above zero"),
    ))
}

#[cfg(not(feature = "governor"))]
fn with_governor(_: Router) -> Router {
    panic!("built without the feature `governor`")
}

fn post(request: Builder, number: u64, payment: Bytes) -> http::Result<Request<Body>> {
    let request = request
        .method("POST")
        .header("content-type", "application/json");
    request
        .header("idempotency-key", format!("payment-{number:08}"))
        .body(Body::from(payment))
}

async fn router_without_auth(routes: Routes<()>) -> Router {
    Api::new("bench", routes)
        .into_router(())
        .await
        .expect("a valid API")
}

async fn router(routes: Routes<()>) -> Router {
    let keys = ApiKeys::parse("alice:sk_test_alice").expect("a key");
    Api::new("bench", routes)
        .auth(keys)
        .into_router(())
        .await
        .expect("a valid API")
}

/// A service that responds immediately. It measures the cost of the harness.
pub(crate) struct Canned;

impl tower_service::Service<Request<Body>> for Canned {
    type Response = http::Response<Body>;
    type Error = core::convert::Infallible;
    type Future = core::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut core::task::Context<'_>,
    ) -> core::task::Poll<Result<(), Self::Error>> {
        core::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        core::future::ready(Ok(http::Response::new(Body::from("x"))))
    }
}
