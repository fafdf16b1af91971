//! Serves the payments API, or runs a command for operators. `README.md` describes the commands.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use aplomb::policies::deprecation::{CallCount, DeprecatedCalls};
use aplomb::prelude::*;
use payments::app::App;

/// The callers and their keys if `APLOMB_API_KEYS` is not set.
const DEMO_KEYS: &str = "alice:sk_test_alice,bob:sk_test_bob";

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    // `main` prints the counts of deprecated calls after the API has stopped, so it keeps a handle
    // to them.
    let mut deprecated_calls = None;
    let make_api = || {
        let api = Api::new("payments", payments::api::routes())
            .title("Payments")
            .store(Store::from_env())
            .auth(ApiKeys::from_env_or(DEMO_KEYS));
        deprecated_calls = Some(api.deprecated_calls());
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
    } in deprecated_calls.iter().flat_map(DeprecatedCalls::snapshot)
    {
        if calls > 0 {
            // Nothing depends on this output, so a closed standard output is no reason to fail.
            let _ = writeln!(
                io::stdout(),
                "{method} {route} is deprecated; calls: {calls}"
            );
        }
    }
    code
}
