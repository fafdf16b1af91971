//! Serves the payments API, or does what an operator needs beside it: see `README.md`.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use aplomb::policies::deprecation::{CallCount, DeprecatedCalls};
use aplomb::prelude::*;
use payments::app::App;

/// The callers where `APLOMB_API_KEYS` names none.
const DEMO_KEYS: &str = "alice:sk_test_alice,bob:sk_test_bob";

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let mut calls = None;
    let make_api = || {
        let api = Api::new("payments", payments::api::routes())
            .title("Payments")
            .store(Store::from_env())
            .auth(ApiKeys::from_env_or(DEMO_KEYS));
        calls = Some(api.deprecated_calls());
        api
    };
    let code = aplomb::run(make_api, async || {
        if env::var_os("APLOMB_API_KEYS").is_none() {
            tracing::warn!("APLOMB_API_KEYS is not set: the demo keys are {DEMO_KEYS}");
        }
        App::connect().await
    });
    for CallCount {
        method,
        route,
        calls,
        ..
    } in calls.iter().flat_map(DeprecatedCalls::snapshot)
    {
        if calls > 0 {
            let _ = writeln!(
                io::stdout(),
                "{method} {route} is deprecated; calls: {calls}"
            );
        }
    }
    code
}
