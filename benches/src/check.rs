//! Rate limiters without an endpoint: the time of one check, and the memory used per client
//! address.

use core::future::Future;
use core::net::Ipv4Addr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use aplomb::clock::SystemClock;
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use aplomb::store::MemoryLimits;

use crate::resident_bytes;

/// Checks `count` requests with the memory store or with governor. The requests take the addresses
/// in turn.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let limiter = arguments.next();
    let numbers: Option<Vec<u32>> = arguments.map(|number| number.parse().ok()).collect();
    match (limiter.as_deref(), numbers.as_deref()) {
        (Some("memory"), Some([count, addresses])) => memory(addresses_in_turn(*count, *addresses)),
        #[cfg(feature = "governor")]
        (Some("governor"), Some([count, addresses])) => {
            governor(addresses_in_turn(*count, *addresses));
        }
        _ => {
            eprintln!("usage: requests check <memory|governor> <count> <addresses>");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn addresses_in_turn(count: u32, addresses: u32) -> impl Iterator<Item = IpAddr> {
    (0..count).map(move |number| IpAddr::V4(Ipv4Addr::from_bits(number % addresses)))
}

fn memory(turns: impl Iterator<Item = IpAddr>) {
    let quota = Quota::new(1_000, HOUR, 1_000).expect("a rate above zero");
    let limits =
        MemoryLimits::with_capacity(MemoryLimits::DEFAULT_CAPACITY, Arc::new(SystemClock::new()));
    let before = resident_bytes();
    for address in turns {
        let bucket = Bucket {
            limit: 1,
            subject: LimitSubject::Address(address),
        };
        let requests = [LimitRequest::new(bucket, quota)];
        let reply = pin!(limits.acquire(&requests)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(reply, Poll::Ready(Ok(acquired)) if acquired.admitted));
    }
    println!(
        "{} {}",
        resident_bytes().saturating_sub(before),
        limits.active()
    );
}

#[cfg(feature = "governor")]
fn governor(turns: impl Iterator<Item = IpAddr>) {
    let quota = governor::Quota::with_period(HOUR / 1_000).expect("a period");
    let limits = governor::RateLimiter::dashmap(
        quota.allow_burst(core::num::NonZero::new(1_000).expect("above zero")),
    );
    let before = resident_bytes();
    for address in turns {
        assert!(limits.check_key(&address).is_ok());
    }
    println!(
        "{} {}",
        resident_bytes().saturating_sub(before),
        limits.len()
    );
}

const HOUR: Duration = Duration::from_hours(1);
