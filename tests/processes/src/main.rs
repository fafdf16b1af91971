//! A service for tests that kill it, stop it, and take its store away.
//!
//! Every run of a handler leaves a line, the order's item, in the file that `RUNS` names: all
//! instances share it, and it outlives them. A run that is held then waits for a file of the item's
//! name in the directory that `GATES` names.

use std::env::{self, VarError};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use aplomb::prelude::*;
use serde::{Deserialize, Serialize};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    let routes = routes![
        place_order,
        write_draft,
        place_limited_order,
        print_report,
        list_prices,
        list_numbers,
        by_token_bucket,
        by_leaky_bucket,
        by_fixed_window,
        by_sliding_window,
        by_prefetched_tokens,
        panic_at_once
    ];
    let api = Api::new("orders", routes)
        .store(Store::from_env())
        .auth(ApiKeys::from_env());
    aplomb::serve(api, App::connect).await
}

#[derive(Debug, Clone)]
struct App {
    runs: PathBuf,
    gates: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Order {
    item: String,
    /// Whether its run waits.
    #[serde(default)]
    held: bool,
}

#[derive(Debug, Serialize)]
struct Placed {
    item: String,
    /// The process that ran.
    by: u32,
}

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent)]
async fn place_order(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.place(order).await
}

/// Writes a draft; a rerun is harmless.
#[endpoint(post = "/drafts", version = 1, idempotent(on_crash = rerun))]
async fn write_draft(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.place(order).await
}

/// Places an order, within limits.
#[endpoint(
    post = "/limited-orders",
    version = 1,
    idempotent,
    rate_limit = "1000/min"
)]
async fn place_limited_order(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.place(order).await
}

/// Prints a report, and blocks its thread meanwhile, as no handler should.
#[endpoint(post = "/reports", version = 1, idempotent)]
async fn print_report(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.record_run(&order);
    while app.is_held(&order) {
        thread::sleep(POLL_INTERVAL);
    }
    placed(order)
}

/// The prices, a few times an hour.
#[endpoint(get = "/prices", version = 1, rate_limit("20/hour"))]
async fn list_prices() -> &'static str {
    "tea: 2"
}

/// Three numbers, each on a page of its own.
#[endpoint(get = "/numbers", version = 1, paginate(cursor, default = 1, max = 1))]
async fn list_numbers(page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(3, |key| key.id);
    page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
        Below { id: *id }
    })
}

#[derive(CursorKey)]
struct Below {
    #[cursor(desc, unique)]
    id: i64,
}

/// Ten a second, five at once.
#[endpoint(get = "/token-bucket", version = 1, rate_limit("10/s", burst = 5))]
async fn by_token_bucket() {}

/// Ten a second, evenly.
#[endpoint(get = "/leaky-bucket", version = 1, rate_limit("10/s", burst = 5, algorithm = leaky_bucket))]
async fn by_leaky_bucket() {}

/// Ten in each second of the clock.
#[endpoint(get = "/fixed-window", version = 1, rate_limit("10/s", algorithm = fixed_window))]
async fn by_fixed_window() {}

/// Ten in any second.
#[endpoint(get = "/sliding-window", version = 1, rate_limit("10/s", algorithm = sliding_window))]
async fn by_sliding_window() {}

/// Twenty a second, of which each instance takes five ahead.
#[endpoint(get = "/leases", version = 1, rate_limit("20/s", prefetch = 5))]
async fn by_prefetched_tokens() {}

/// Panics.
#[endpoint(get = "/panic", version = 1)]
async fn panic_at_once() {
    panic!("the shop is closed")
}

impl App {
    async fn connect() -> Result<Self, VarError> {
        Ok(Self {
            runs: env::var("RUNS")?.into(),
            gates: env::var("GATES")?.into(),
        })
    }

    async fn place(&self, order: Order) -> Created<Placed> {
        self.record_run(&order);
        while self.is_held(&order) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        placed(order)
    }

    /// Leaves a line. One write that appends is whole, whoever else writes.
    fn record_run(&self, order: &Order) {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.runs);
        let line = format!("{}\n", order.item);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file takes a line");
    }

    fn is_held(&self, order: &Order) -> bool {
        order.held && !self.gates.join(&order.item).exists()
    }
}

fn placed(order: Order) -> Created<Placed> {
    Created::new(Placed {
        item: order.item,
        by: process::id(),
    })
}

/// How often a held run looks whether it may go on.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
