//! An endpoint with idempotency keys and a rate limit on Redis, declared with Aplomb and written by
//! hand, and a load generator that compares them.
//!
//! `redis.py` runs this program. `payments_redis aplomb <redis-url>` serves the endpoint that is
//! declared with Aplomb, and prints its address. `payments_redis by-hand <redis-url>` serves the
//! endpoint that is written by hand. `payments_redis load …` sends requests to an address.

mod by_hand;
mod declared;
mod load;
mod payment;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use self::load::Plan;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: payments_redis aplomb|aplomb-prefetch|by-hand <redis-url>\n       \
                     payments_redis load <address> <key-prefix> new|replay <connections> <seconds> <max requests>";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments.as_slice() {
        ["aplomb", url] => serve(declared::router(url)),
        ["aplomb-prefetch", url] => serve(declared::router_with_prefetch(url)),
        ["by-hand", url] => serve(by_hand::router(url)),
        ["load", ref plan @ ..] => run_load(plan),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Serves a router. Both versions of the endpoint are served in the same way.
fn serve(router: impl Future<Output = Result<Router, Failure>>) -> Result<(), Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let router = router.await?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            Ok(axum::serve(listener, router).await?)
        })
}

fn run_load(plan: &[&str]) -> Result<(), Failure> {
    let plan = Plan::parse(plan).ok_or(USAGE)?;
    let summary = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(load::run(plan))?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
