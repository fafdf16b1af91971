//! A service with a rate limit and an idempotent endpoint. `README.md` shows its responses.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aplomb::prelude::*;

/// The number of visits, which all requests share.
type Visits = Arc<AtomicU64>;

#[derive(serde::Serialize)]
struct Greeting {
    text: String,
}

#[derive(serde::Serialize)]
struct Visit {
    number: u64,
}

/// Returns a greeting. Each client address has 60 requests a minute.
#[endpoint(get = "/hello/{name}", version = 1, rate_limit = "60/min")]
async fn hello(Path(name): Path<String>) -> Json<Greeting> {
    Json(Greeting {
        text: format!("Hello, {name}!"),
    })
}

/// Counts one visit for each `Idempotency-Key`. The API has no authentication, so `anonymous` lets
/// its clients use keys.
#[endpoint(post = "/visits", version = 1, idempotent(anonymous))]
async fn visit(State(visits): State<Visits>) -> Created<Visit> {
    Created::new(Visit {
        number: visits.fetch_add(1, Ordering::Relaxed) + 1,
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let api = Api::new("hello", routes![hello, visit]).without_auth();
    aplomb::serve(
        api,
        async || Ok::<_, aplomb::StartErrors>(Visits::default()),
    )
    .await
}
