//! A service whose Redis is not there when it starts.

use std::process::Output;

use crate::bench::Bench;

/// Checks that it did not start, and said only this of it.
fn refused(output: &Output, url: &str) {
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let start = format!("error: APLOMB_STORE=\"{url}\": ");
    assert!(matches!(&errors[..], [error] if error.starts_with(&start)), "{said}");
    assert!(output.stdout.is_empty(), "it does not listen");
}

#[test]
fn a_store_that_is_not_there_is_said_at_start() {
    let bench = Bench::start();
    bench.redis.kill();
    refused(&bench.settings("a").run(), &bench.redis.url());
}

#[test]
fn a_store_that_stands_still_is_said_at_start() {
    let bench = Bench::start();
    bench.redis.pause();
    refused(&bench.settings("a").run(), &bench.redis.url());
}
