//! Serves the API to browsers: the same endpoints inside a CORS layer.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;

use aplomb::StartError;
use aplomb::prelude::*;
use axum::http::{HeaderName, HeaderValue, Method};
use orders::App;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower_http::cors::CorsLayer;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let api = Api::new("orders", orders::routes())
        .store(Store::from_env())
        .auth(ApiKeys::from_env());
    let tracker = api.tracker();
    let router = api.into_router(App::connect().await?).await?;
    // Rate limits by address read the client address from the connect info.
    let service = router
        .layer(cors()?)
        .into_make_service_with_connect_info::<SocketAddr>();

    let address = setting("ORDERS_ADDR", "127.0.0.1:3000");
    let accepted = "expected a free address, such as 127.0.0.1:3000";
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        StartError::variable("ORDERS_ADDR", &address, format!("{error}; {accepted}"))
    })?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, service)
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    // Runs with an idempotency key continue after their connection has ended.
    tracker.close();
    tracker.wait().await;
    Ok(())
}

fn cors() -> Result<CorsLayer, Box<dyn Error>> {
    let origin = setting("ORDERS_ORIGIN", "http://localhost:5173");
    let request = ["authorization", "content-type", "idempotency-key"];
    let response = [
        "idempotent-replayed",
        "link",
        "location",
        "ratelimit",
        "retry-after",
        "x-request-id",
    ];
    Ok(CorsLayer::new()
        .allow_origin(HeaderValue::from_str(&origin)?)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(request.map(HeaderName::from_static))
        .expose_headers(response.map(HeaderName::from_static)))
}

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.into())
}

/// Returns at SIGINT (Ctrl-C) or SIGTERM.
async fn shutdown_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("a handler of SIGTERM");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
