//! Answers a number of requests in process: `requests <scenario> <count>`.
//!
//! `instructions.py` runs it under callgrind with two counts; the difference is what a request
//! costs, whatever the start costs.

mod scenario;

use core::convert::Infallible;
use std::env;
use std::process::ExitCode;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tower_service::Service;

use scenario::{Canned, Scenario};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let scenario = arguments.next().and_then(|name| Scenario::named(&name));
    let count = arguments.next().and_then(|count| count.parse().ok());
    let (Some(scenario), Some(count)) = (scenario, count) else {
        eprintln!("usage: requests <{}> <count>", Scenario::names().join("|"));
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(answer(scenario, count));
    ExitCode::SUCCESS
}

async fn answer(scenario: Scenario, count: u64) {
    if scenario.is_harness() {
        return ask(scenario, count, Canned).await;
    }
    ask(scenario, count, scenario.router().await).await;
}

async fn ask<S>(scenario: Scenario, count: u64, mut service: S)
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    for number in 0..count {
        let Ok(response) = service.call(scenario.request(number)).await;
        assert!(response.status().is_success(), "{}", response.status());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(!body.is_empty());
    }
}
