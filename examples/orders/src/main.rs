//! Serves the API.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use aplomb::prelude::*;
use orders::App;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

#[tokio::main]
async fn main() -> ExitCode {
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
    aplomb::serve(api, App::connect).await
}
