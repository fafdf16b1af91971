//! Serves the payments API, or runs a command for operators. `README.md` describes the commands.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use aplomb::policies::deprecation::{CallCount, DeprecatedCalls};
use aplomb::prelude::*;
use payments::settings::Settings;
use payments::{postgres, sqlite};

/// The callers and their keys if `APLOMB_API_KEYS` is not set.
const DEMO_KEYS: &str = "alice:sk_test_alice,bob:sk_test_bob";

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let settings = Settings::from_env();
    if settings.is_postgres() {
        let connect = async || postgres::app::App::connect(&settings).await;
        run(&settings, postgres::api::routes(), connect)
    } else {
        let connect = async || sqlite::app::App::connect(&settings).await;
        run(&settings, sqlite::api::routes(), connect)
    }
}

/// Runs the service with the endpoints and the state of one database.
fn run<S, E>(
    settings: &Settings,
    routes: Routes<S>,
    connect: impl AsyncFnOnce() -> Result<S, E>,
) -> ExitCode
where
    S: Clone + Send + Sync + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // `main` prints the counts of deprecated calls after the API has stopped, so it keeps a handle
    // to them.
    let mut deprecated_calls = None;
    let make_api = || {
        let api = Api::new("payments", routes)
            .title("Payments")
            .store(settings.store())
            .auth(ApiKeys::from_env_or(DEMO_KEYS));
        deprecated_calls = Some(api.deprecated_calls());
        api
    };
    let code = aplomb::run(make_api, async || {
        if env::var_os("APLOMB_API_KEYS").is_none() {
            tracing::warn!("APLOMB_API_KEYS is not set: the demo keys are {DEMO_KEYS}");
        }
        settings.log_default_file();
        connect().await
    });
    print_deprecated_calls(deprecated_calls.as_ref());
    code
}

fn print_deprecated_calls(deprecated_calls: Option<&DeprecatedCalls>) {
    for CallCount {
        method,
        route,
        calls,
        ..
    } in deprecated_calls.iter().flat_map(|calls| calls.snapshot())
    {
        if calls > 0 {
            // Nothing depends on this output, so a closed standard output is no reason to fail.
            let _ = writeln!(
                io::stdout(),
                "{method} {route} is deprecated; calls: {calls}"
            );
        }
    }
}
