//! The response fields of rate limits. Only this module depends on the syntax of the draft, which
//! may still change.

use core::cmp::Reverse;
use core::fmt::Write as _;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use itoa::Buffer as Digits;

use super::decide::LimitStatus;
use super::quota::Quota;
use crate::problem::{seconds_rounded_up, whole_seconds};

const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The parts of a limit's response fields that are the same in every response.
#[derive(Debug)]
pub(crate) struct Label {
    /// The name of the limit in the structured fields.
    pub(crate) name: String,
    /// The start of the limit's item in the `RateLimit` field.
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

/// Returns the value of `RateLimit-Policy`: each name with its quota `q` and its window `w` in
/// seconds.
pub(crate) fn policy_value(limits: &[(&Label, Quota)]) -> HeaderValue {
    let mut text = String::new();
    for (label, quota) in limits {
        let window = whole_seconds(Duration::from_micros(quota.window()));
        push_separator(&mut text);
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\"{}\";q={};w={window}", label.name, label.burst);
    }
    header_value(text)
}

/// Writes the response fields.
pub(crate) fn write(
    headers: &mut HeaderMap,
    labels: &[Label],
    statuses: &[LimitStatus],
    policy: &HeaderValue,
) {
    // The `X-` fields describe the limit that rejects for the longest time, or else the limit
    // with the fewest tokens left.
    let tightness = |(_, status): &(&Label, &LimitStatus)| (Reverse(status.wait), status.remaining);
    let Some((label, tightest)) = labels.iter().zip(statuses).min_by_key(tightness) else {
        return;
    };
    // Reserves room for the five fields below, the request id and the content length.
    headers.reserve(7);
    headers.insert(X_LIMIT, label.limit.clone());
    headers.insert(X_REMAINING, number_value(tightest.remaining));
    headers.insert(
        X_RESET,
        number_value(unix_seconds_after(tightest.resets_in)),
    );
    headers.insert(RATELIMIT, status_value(labels, statuses));
    headers.insert(RATELIMIT_POLICY, policy.clone());
}

/// Returns the value of `RateLimit`: each name with the remaining tokens `r` and the seconds `t`
/// until the bucket is full.
fn status_value(labels: &[Label], statuses: &[LimitStatus]) -> HeaderValue {
    let mut text = String::with_capacity(32 * labels.len());
    for (label, status) in labels.iter().zip(statuses) {
        push_separator(&mut text);
        text.push_str(&label.item);
        text.push_str(Digits::new().format(status.remaining));
        text.push_str(";t=");
        text.push_str(Digits::new().format(seconds_rounded_up(status.resets_in)));
    }
    header_value(text)
}

fn push_separator(text: &mut String) {
    if !text.is_empty() {
        text.push_str(", ");
    }
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .expect("limit names are tokens, and the rest is visible ASCII")
}

/// Formats a number with one allocation of the exact size. The conversion in `HeaderValue` makes a
/// larger allocation.
fn number_value(number: u64) -> HeaderValue {
    HeaderValue::from_str(Digits::new().format(number)).expect("digits are valid in a header field")
}

fn unix_seconds_after(from_now: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    seconds_rounded_up(now + from_now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, burst: u64) -> (Label, Quota) {
        let quota = Quota::new(100, Duration::from_mins(1), burst).expect("valid");
        (Label::new(name.to_owned(), quota), quota)
    }

    fn status(remaining: u64, resets_in: Duration) -> LimitStatus {
        LimitStatus {
            remaining,
            resets_in,
            ..LimitStatus::default()
        }
    }

    #[test]
    fn b06_structured_fields_have_an_item_per_limit() {
        let (minute, quota) = label("default", 100);
        let (login, login_quota) = label("login", 5);
        assert_eq!(
            policy_value(&[(&minute, quota), (&login, login_quota)]),
            "\"default\";q=100;w=60, \"login\";q=5;w=3"
        );
        let statuses = [
            status(99, Duration::from_millis(600)),
            status(0, Duration::from_secs(3)),
        ];
        assert_eq!(
            status_value(&[minute, login], &statuses),
            "\"default\";r=99;t=1, \"login\";r=0;t=3"
        );
    }

    #[test]
    fn b06_x_fields_describe_the_limit_with_the_fewest_tokens_left() {
        let ((minute, quota), (login, login_quota)) = (label("default", 100), label("login", 5));
        let policy = policy_value(&[(&minute, quota), (&login, login_quota)]);
        let statuses = [status(99, Duration::ZERO), status(4, Duration::ZERO)];
        let mut headers = HeaderMap::new();
        write(&mut headers, &[minute, login], &statuses, &policy);
        assert_eq!(
            (&headers[X_LIMIT], &headers[X_REMAINING]),
            (&HeaderValue::from(5), &HeaderValue::from(4))
        );
    }
}
