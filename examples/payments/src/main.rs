//! Serves the payments API: see `README.md`.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use aplomb::prelude::*;
use payments::app::App;

/// The callers where `APLOMB_API_KEYS` names none.
const DEMO_KEYS: &str = "alice:sk_test_alice,bob:sk_test_bob";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if env::var_os("APLOMB_API_KEYS").is_none() {
        let _ = writeln!(io::stdout(), "demo keys: {DEMO_KEYS}");
    }
    let api = Api::new("Payments", payments::api::routes())
        .store(Store::from_env())
        .auth(ApiKeys::from_env_or(DEMO_KEYS));
    aplomb::serve(api, App::connect).await
}
