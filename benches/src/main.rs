//! Answers a number of requests in process: `requests <scenario> <count> [<least bytes of a body>]`.
//!
//! `instructions.py` runs it under callgrind with two counts; the difference is what a request
//! costs, whatever the start costs. It prints by how many bytes the process has grown.
//! `requests check <limiter> <count> <addresses>` asks a limiter alone, and prints as well how many
//! addresses it still knows.

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
    let least = arguments.next().map_or(Some(0), |least| least.parse().ok());
    let (Some(scenario), Some(count), Some(least)) = (scenario, count, least) else {
        eprintln!(
            "usage: requests <{}> <count> [<least bytes of a body>]",
            Scenario::names().join("|")
        );
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(answer(scenario, count, payment(least)));
    ExitCode::SUCCESS
}

async fn answer(scenario: Scenario, count: u64, payment: Bytes) {
    if scenario.is_harness() {
        return ask(scenario, count, &payment, &mut Canned).await;
    }
    let mut router = scenario.router().await;
    ask(scenario, 1, &payment, &mut router).await;
    let before = resident();
    ask(scenario, count, &payment, &mut router).await;
    println!("{}", resident().saturating_sub(before));
}

/// The bytes of memory that the process takes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = field.and_then(|field| field.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

async fn ask<S>(scenario: Scenario, count: u64, payment: &Bytes, service: &mut S)
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
