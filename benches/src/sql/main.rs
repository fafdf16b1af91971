//! An endpoint with an idempotency key, a rate limit and one row to insert, on PostgreSQL and on
//! SQLite, declared with Aplomb and written by hand.
//!
//! `sql.py` runs this program. `payments_sql <mode> <url>` serves the endpoint, and prints its
//! address. The URL is `postgres://…` or `sqlite:<file>`. The modes are:
//!
//! - `plain`: written by hand, without a key and without a limit, in one transaction;
//! - `by-hand`: written by hand, with a table of keys and a limit, in three transactions;
//! - `tx`: declared with Aplomb; the handler takes a `Tx`;
//! - `without-tx`: declared with Aplomb; the handler uses its own pool.
//!
//! `payments_sql load …` sends requests to an address. `payments_sql records …` measures a store
//! without HTTP, and `payments_sql fill …` writes records.

mod bucket;
mod by_hand;
mod database;
mod declared;
mod records;

use std::env;
use std::process::ExitCode;

use aplomb_benches::{Failure, run_load, serve};
use axum::Router;
use tokio::runtime::Builder;

use self::database::Database;

const USAGE: &str = "usage: payments_sql plain|by-hand|tx|without-tx <url> [untested]\n       \
                     payments_sql load <address> <key-prefix> new|replay <connections> <seconds> \
                     <max requests> [<requests/s>]\n       \
                     payments_sql records <url> <tasks> <seconds>\n       \
                     payments_sql fill <url> <records>";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments.as_slice() {
        ["load", ref plan @ ..] => run_load(plan, USAGE),
        ["records", url, tasks, seconds] => measure_records(url, tasks, seconds),
        ["fill", url, count] => fill(url, count),
        [mode, url] => serve(router(mode, url, true)),
        [mode, url, "untested"] => serve(router(mode, url, false)),
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

async fn router(mode: &str, url: &str, is_tested: bool) -> Result<Router, Failure> {
    let database = Database::open(url, is_tested).await?;
    match mode {
        "plain" => Ok(by_hand::plain(database)),
        "by-hand" => Ok(by_hand::with_table(database)),
        "tx" => declared::with_tx(database).await,
        "without-tx" => declared::without_tx(database).await,
        _ => Err(USAGE.into()),
    }
}

fn measure_records(url: &str, tasks: &str, seconds: &str) -> Result<(), Failure> {
    let (tasks, seconds) = (tasks.parse()?, seconds.parse()?);
    let rates = run(records::measure(url, tasks, seconds))?;
    println!("{}", serde_json::to_string(&rates)?);
    Ok(())
}

fn fill(url: &str, count: &str) -> Result<(), Failure> {
    run(records::fill(url, count.parse()?))
}

fn run<T>(task: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(task)
}
