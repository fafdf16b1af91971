//! Serves the payments API, or decides a record by hand: see `README.md`.

mod resolve;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use aplomb::policies::retirement::CallCount;
use aplomb::prelude::*;
use payments::app::App;

const USAGE: &str =
    "usage: payments                                        serves on APLOMB_ADDR, 127.0.0.1:3000

Settings come from the environment; README.md lists them.";

/// The callers where `APLOMB_API_KEYS` names none.
const DEMO_KEYS: &str = "alice:sk_test_alice,bob:sk_test_bob";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    let api = Api::new("payments", payments::api::routes())
        .title("Payments")
        .store(Store::from_env())
        .auth(ApiKeys::from_env_or(DEMO_KEYS));
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.split_first() {
        None => {}
        Some((command, rest)) if command == "resolve" => return resolve::run(api, rest).await,
        Some((command, _)) if ["help", "--help", "-h"].contains(&command.as_str()) => {
            let _ = writeln!(io::stdout(), "{USAGE}\n\n{}", resolve::USAGE);
            return ExitCode::SUCCESS;
        }
        Some((other, _)) => {
            let _ = writeln!(
                io::stderr(),
                "error: unknown command {other:?}; `resolve`, `help`, or none to serve"
            );
            return ExitCode::from(2);
        }
    }
    if env::var_os("APLOMB_API_KEYS").is_none() {
        let _ = writeln!(io::stdout(), "demo keys: {DEMO_KEYS}");
    }
    let calls = api.deprecated_calls();
    let code = aplomb::serve(api, App::connect).await;
    for CallCount { method, route, calls, .. } in calls.snapshot() {
        if calls > 0 {
            let _ = writeln!(io::stdout(), "{method} {route} is deprecated; calls: {calls}");
        }
    }
    code
}
