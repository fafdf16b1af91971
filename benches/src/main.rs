//! Sends a number of requests to a service inside this process: `requests <scenario> <count>
//! [<minimum bytes of a body>]`.
//!
//! `instructions.py` runs this program under callgrind with two counts. The difference is the cost
//! of the requests without the cost of the start. The program prints the growth of its memory in
//! bytes. `requests check <limiter> <count> <addresses>` calls only a rate limiter. It also prints
//! the number of addresses that the limiter still stores.

mod check;
mod scenario;

use core::convert::Infallible;
use std::env;
use std::process::ExitCode;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tower_service::Service;

use bytes::Bytes;
use scenario::{Canned, Scenario, payment};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|name| name == "check").is_some() {
        return check::main(arguments);
    }
    let scenario = arguments.next().and_then(|name| Scenario::named(&name));
    let count = arguments.next().and_then(|count| count.parse().ok());
    let min_body_bytes = arguments
        .next()
        .map_or(Some(0), |min_body_bytes| min_body_bytes.parse().ok());
    let (Some(scenario), Some(count), Some(min_body_bytes)) = (scenario, count, min_body_bytes)
    else {
        eprintln!(
            "usage: requests <{}> <count> [<minimum bytes of a body>]",
            Scenario::names().join("|")
        );
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(run(scenario, count, payment(min_body_bytes)));
    ExitCode::SUCCESS
}

async fn run(scenario: Scenario, count: u64, payment: Bytes) {
    if scenario.is_harness() {
        return send_requests(scenario, count, &payment, &mut Canned).await;
    }
    let mut router = scenario.router().await;
    send_requests(scenario, 1, &payment, &mut router).await;
    let before = resident_bytes();
    send_requests(scenario, count, &payment, &mut router).await;
    println!("{}", resident_bytes().saturating_sub(before));
}

/// Returns the resident memory of the process in bytes, or zero on systems without `/proc`.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = field.and_then(|field| field.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

async fn send_requests<S>(scenario: Scenario, count: u64, payment: &Bytes, service: &mut S)
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    for number in 0..count {
        let Ok(response) = service.call(scenario.request(number, payment)).await;
        assert!(response.status().is_success(), "{}", response.status());
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert!(!body.is_empty());
    }
}
