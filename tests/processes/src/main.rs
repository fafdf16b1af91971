//! A service for tests that kill it, suspend it, or stop its store.
//!
//! The environment variable `RUNS` is the path of a file. Every run of a handler appends the item
//! of its order as a line to this file. All instances share this file, and it remains after they
//! have ended. The environment variable `GATES` is the path of a directory. A held run waits until
//! this directory has a file with the name of the item. The environment variable `OPEN_FILES` is the
//! number of files that the process keeps open, so that fewer are left for connections.

use std::env::{self, VarError};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use aplomb::prelude::*;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    let open_files = env::var("OPEN_FILES").map_or(0, |number| number.parse().expect("a number"));
    let _files: Vec<_> = (0..open_files).map(|_| File::open("/dev/null")).collect();
    let routes = routes![
        place_order,
        write_draft,
        place_limited_order,
        print_report,
        pack_parcel,
        most_packers,
        list_prices,
        upload,
        list_numbers,
        catalog,
        by_token_bucket,
        by_leaky_bucket,
        by_fixed_window,
        by_sliding_window,
        by_prefetched_tokens,
        panic_at_once
    ];
    let make_api = || {
        Api::new("orders", routes)
            .store(Store::from_env())
            .auth(ApiKeys::from_env())
    };
    aplomb::run(make_api, App::connect)
}

#[derive(Debug, Clone)]
struct App {
    runs: PathBuf,
    gates: PathBuf,
    packers: Arc<Packers>,
}

/// The number of running handlers that pack a parcel.
#[derive(Debug, Default)]
struct Packers {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Debug, Deserialize)]
struct Order {
    item: String,
    /// If `true`, the run waits until the test releases it.
    #[serde(default)]
    held: bool,
}

#[derive(Debug, Serialize)]
struct Placed {
    item: String,
    /// The id of the process that ran the handler.
    by: u32,
}

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent)]
async fn place_order(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.place(order).await
}

/// Writes a draft. A rerun is harmless.
#[endpoint(post = "/drafts", version = 1, idempotent(on_crash = rerun))]
async fn write_draft(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.place(order).await
}

/// Places an order under a limit.
#[endpoint(
    post = "/limited-orders",
    version = 1,
    idempotent,
    rate_limit = "1000/min"
)]
async fn place_limited_order(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.place(order).await
}

/// Prints a report and blocks its thread, which no handler should do.
#[endpoint(post = "/reports", version = 1, idempotent)]
async fn print_report(State(app): State<App>, Json(order): Json<Order>) -> Created<Placed> {
    app.record_run(&order);
    while app.is_held(&order) {
        thread::sleep(POLL_INTERVAL);
    }
    placed(order)
}

/// Packs a parcel. This takes a second and 128 KiB.
#[endpoint(post = "/parcels", version = 1, idempotent)]
async fn pack_parcel(State(app): State<App>) -> NoContent {
    let parcel = vec![1_u8; 128 << 10];
    let now = app.packers.now.fetch_add(1, Ordering::SeqCst) + 1;
    app.packers.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    app.packers.now.fetch_sub(1, Ordering::SeqCst);
    drop(parcel);
    NoContent
}

/// Returns the largest number of parcels that were packed at the same time.
#[endpoint(get = "/packers", version = 1)]
async fn most_packers(State(app): State<App>) -> Json<usize> {
    Json(app.packers.most.load(Ordering::SeqCst))
}

/// Lists prices under a limit per hour.
#[endpoint(get = "/prices", version = 1, rate_limit("20/hour"))]
async fn list_prices() -> &'static str {
    "tea: 2"
}

/// Reads a body of at most a megabyte.
#[endpoint(
    post = "/uploads",
    version = 1,
    not_idempotent = "nothing is stored",
    body_limit = "1MB"
)]
async fn upload(body: Bytes) -> String {
    body.len().to_string()
}

/// Lists three numbers, one per page.
#[endpoint(get = "/numbers", version = 1, paginate(cursor, default = 1, max = 1))]
async fn list_numbers(page: PageRequest<Below>) -> Page<i64> {
    let below = page.after().map_or(3, |key| key.id);
    page.page((0..below).rev().take(page.fetch_limit()).collect(), |id| {
        Below { id: *id }
    })
}

/// Returns a large catalog.
#[endpoint(get = "/catalog", version = 1)]
async fn catalog() -> String {
    "tea: 2\n".repeat(42_000)
}

#[derive(CursorKey)]
struct Below {
    #[cursor(desc, unique)]
    id: i64,
}

/// Admits ten requests per second, with a burst of five.
#[endpoint(get = "/token-bucket", version = 1, rate_limit("10/s", burst = 5))]
async fn by_token_bucket() {}

/// Admits ten requests per second, one after another.
#[endpoint(get = "/leaky-bucket", version = 1, rate_limit("10/s", burst = 5, algorithm = leaky_bucket))]
async fn by_leaky_bucket() {}

/// Admits ten requests in each second of the clock.
#[endpoint(get = "/fixed-window", version = 1, rate_limit("10/s", algorithm = fixed_window))]
async fn by_fixed_window() {}

/// Admits ten requests in any second.
#[endpoint(get = "/sliding-window", version = 1, rate_limit("10/s", algorithm = sliding_window))]
async fn by_sliding_window() {}

/// Admits twenty requests per second. Each instance prefetches five tokens.
#[endpoint(get = "/prefetched", version = 1, rate_limit("20/s", prefetch = 5))]
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
            packers: Arc::default(),
        })
    }

    async fn place(&self, order: Order) -> Created<Placed> {
        self.record_run(&order);
        while self.is_held(&order) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        placed(order)
    }

    /// Appends a line to the file of runs. Each append is atomic, so lines of several processes do
    /// not mix.
    fn record_run(&self, order: &Order) {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.runs);
        let line = format!("{}\n", order.item);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of runs is writable");
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

/// The interval at which a held run checks whether its gate exists. It is short, because tests wait
/// for the run.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
