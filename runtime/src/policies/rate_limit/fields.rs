//! The response fields of a rate limit. The draft may still change; its syntax stands only here.

use core::cmp::Reverse;
use core::fmt::Write as _;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use itoa::Buffer as Digits;

use super::decide::LimitStatus;
use super::quota::Quota;
use crate::problem::{seconds_up, whole_seconds};

const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What the fields say of a limit and what never changes about it.
#[derive(Debug)]
pub(crate) struct Label {
    /// The policy's name in the structured fields.
    pub(crate) name: String,
    /// The beginning of its item in `RateLimit`.
    item: String,
    burst: u64,
    limit: HeaderValue,
}

impl Label {
    pub(crate) fn new(name: String, quota: Quota) -> Self {
        let item = format!("\"{name}\";r=");
        Self {
            name,
            item,
            burst: quota.burst(),
            limit: HeaderValue::from(quota.burst()),
        }
    }
}

/// `RateLimit-Policy` of these limits: each name with its quota `q` and window `w` in seconds.
pub(crate) fn policy(limits: &[(&Label, Quota)]) -> HeaderValue {
    let mut text = String::new();
    for (label, quota) in limits {
        let window = whole_seconds(Duration::from_micros(quota.window()));
        separate(&mut text);
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\"{}\";q={};w={window}", label.name, label.burst);
    }
    value(text)
}

/// Writes the fields of a response.
pub(crate) fn write(
    headers: &mut HeaderMap,
    labels: &[Label],
    readings: &[LimitStatus],
    policy: &HeaderValue,
) {
    // Whoever refuses for the longest speaks; else whoever has the fewest tokens left.
    let tightness =
        |(_, reading): &(&Label, &LimitStatus)| (Reverse(reading.wait), reading.remaining);
    let Some((label, tightest)) = labels.iter().zip(readings).min_by_key(tightness) else {
        return;
    };
    // With the request's id and its length.
    headers.reserve(7);
    headers.insert(X_LIMIT, label.limit.clone());
    headers.insert(X_REMAINING, number(tightest.remaining));
    headers.insert(X_RESET, number(unix_seconds(tightest.resets_in)));
    headers.insert(RATELIMIT, status(labels, readings));
    headers.insert(RATELIMIT_POLICY, policy.clone());
}

/// `RateLimit`: each name with what remains `r` and the seconds `t` until its quota is whole.
fn status(labels: &[Label], readings: &[LimitStatus]) -> HeaderValue {
    let mut text = String::with_capacity(32 * labels.len());
    for (label, reading) in labels.iter().zip(readings) {
        separate(&mut text);
        text.push_str(&label.item);
        text.push_str(Digits::new().format(reading.remaining));
        text.push_str(";t=");
        text.push_str(Digits::new().format(seconds_up(reading.resets_in)));
    }
    value(text)
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push_str(", ");
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("names are tokens, the rest is digits")
}

/// In one allocation of its length, which `HeaderValue` does not do by itself.
fn number(number: u64) -> HeaderValue {
    HeaderValue::from_str(Digits::new().format(number)).expect("digits are visible")
}

fn unix_seconds(from_now: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    seconds_up(now + from_now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, burst: u64) -> (Label, Quota) {
        let quota = Quota::new(100, Duration::from_mins(1), burst).expect("valid");
        (Label::new(name.to_owned(), quota), quota)
    }

    fn reading(remaining: u64, full_in: Duration) -> LimitStatus {
        LimitStatus {
            remaining,
            resets_in: full_in,
            ..LimitStatus::default()
        }
    }

    #[test]
    fn b06_structured_fields_have_an_item_for_each_limit() {
        let (minute, quota) = label("default", 100);
        let (login, login_quota) = label("login", 5);
        assert_eq!(
            policy(&[(&minute, quota), (&login, login_quota)]),
            "\"default\";q=100;w=60, \"login\";q=5;w=3"
        );
        let readings = [
            reading(99, Duration::from_millis(600)),
            reading(0, Duration::from_secs(3)),
        ];
        assert_eq!(
            status(&[minute, login], &readings),
            "\"default\";r=99;t=1, \"login\";r=0;t=3"
        );
    }

    #[test]
    fn b06_x_fields_speak_for_the_tightest() {
        let ((minute, quota), (login, login_quota)) = (label("default", 100), label("login", 5));
        let policy = policy(&[(&minute, quota), (&login, login_quota)]);
        let readings = [reading(99, Duration::ZERO), reading(4, Duration::ZERO)];
        let mut headers = HeaderMap::new();
        write(&mut headers, &[minute, login], &readings, &policy);
        assert_eq!(
            (&headers[X_LIMIT], &headers[X_REMAINING]),
            (&HeaderValue::from(5), &HeaderValue::from(4))
        );
    }
}
