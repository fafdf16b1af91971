//! One endpoint with an idempotency key and a rate limit on Redis, declared and by hand, and the
//! requests to compare them with.
//!
//! `redis.py` runs it: `payments_redis aplomb <redis-url>` and `payments_redis by-hand <redis-url>`
//! serve, and print their address; `payments_redis load …` asks one of them.

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
                     payments_redis load <address> <key-prefix> new|replay <connections> <seconds> <most>";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["aplomb", url] => serve(declared::router(url)),
        ["aplomb-prefetch", url] => serve(declared::router_with_prefetch(url)),
        ["by-hand", url] => serve(by_hand::router(url)),
        ["load", ref plan @ ..] => ask(plan),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Serves in the same way whatever was made.
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

fn ask(plan: &[&str]) -> Result<(), Failure> {
    let plan = Plan::parse(plan).ok_or(USAGE)?;
    let tally = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(load::run(plan))?;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}
