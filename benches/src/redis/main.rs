//! An endpoint with idempotency keys and a rate limit on Redis, declared with Aplomb and written by
//! hand, and a load generator that compares them.
//!
//! `redis.py` runs this program. `payments_redis aplomb <redis-url>` serves the endpoint that is
//! declared with Aplomb, and prints its address. `payments_redis by-hand <redis-url>` serves the
//! endpoint that is written by hand. `payments_redis load …` sends requests to an address.

mod by_hand;
mod declared;

use std::env;
use std::process::ExitCode;

use aplomb_benches::{run_load, serve};

const USAGE: &str = "usage: payments_redis aplomb|aplomb-prefetch|by-hand <redis-url>\n       \
                     payments_redis load <address> <key-prefix> new|replay <connections> <seconds> <max requests>";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments.as_slice() {
        ["aplomb", url] => serve(declared::router(url)),
        ["aplomb-prefetch", url] => serve(declared::router_with_prefetch(url)),
        ["by-hand", url] => serve(by_hand::router(url)),
        ["load", ref plan @ ..] => run_load(plan, USAGE),
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
