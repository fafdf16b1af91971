//! Limits that count and never refuse: what they would have refused is written to the log.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use super::store::Subject;
use crate::clock::Timestamp;
use crate::spec::EndpointSpec;

/// What one shadow limit of an endpoint would have refused.
#[derive(Debug)]
pub(crate) struct Shadow {
    limit: String,
    tally: Mutex<Tally>,
}

/// How many requests the log has not been told of, and when it was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    untold: u64,
    told: Option<Timestamp>,
}

/// At most one line in this time.
const PAUSE: Duration = Duration::from_secs(1);

impl Shadow {
    /// The shadow limit of this name.
    pub(crate) fn new(limit: String) -> Self {
        Self { limit, tally: Mutex::default() }
    }

    /// Counts one more request that the limit would have refused.
    pub(crate) fn note(&self, spec: &EndpointSpec, subject: &Subject<'_>, now: Timestamp) {
        let Some(requests) = self.count(now) else { return };
        tracing::info!(
            endpoint = spec.name,
            method = %spec.method,
            path = spec.path,
            limit = self.limit,
            by = kind(subject),
            requests,
            "a shadow limit would have refused"
        );
    }

    fn count(&self, now: Timestamp) -> Option<u64> {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, requests) = tally.one_more(now);
        *tally = next;
        requests
    }
}

impl Tally {
    /// How many requests the log is told of now, if it is.
    fn one_more(self, now: Timestamp) -> (Self, Option<u64>) {
        let untold = self.untold + 1;
        if self.told.is_some_and(|told| now.since(told) < PAUSE) {
            return (Self { untold, ..self }, None);
        }
        (Self { untold: 0, told: Some(now) }, Some(untold))
    }
}

/// Whose request it was, without saying who.
fn kind(subject: &Subject<'_>) -> &'static str {
    match subject {
        Subject::Caller(_) => "caller",
        Subject::Address(_) => "address",
        Subject::Key(_) => "key",
        Subject::Everyone => "everyone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Caller;
    use crate::spec::Method;
    use crate::testing::TestLog;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn b17_the_log_is_told_at_once_and_then_once_a_second_how_many() {
        let (mut tally, mut told) = (Tally::default(), Vec::new());
        for milliseconds in [0, 1, 999, 1000, 1500, 1999, 5000] {
            let (next, requests) = tally.one_more(START.after(Duration::from_millis(milliseconds)));
            tally = next;
            told.extend(requests.map(|requests| (milliseconds, requests)));
        }
        assert_eq!(told, [(0, 1), (1000, 3), (5000, 3)]);
    }

    #[test]
    fn b17_a_line_names_endpoint_limit_and_kind_of_caller_and_not_who() {
        let log = TestLog::of("rate_limit::shadow");
        let _said = log.listen();
        let spec = EndpointSpec::new(Method::Get, "/users", "users");
        let shadow = Shadow::new(String::from("login"));
        let (alice, address) = (Caller::new("alice"), "192.0.2.1".parse().expect("an address"));
        for (second, subject) in (0..).zip([
            Subject::Caller(&alice),
            Subject::Address(address),
            Subject::Key("alice"),
            Subject::Everyone,
        ]) {
            shadow.note(&spec, &subject, START.after(Duration::from_secs(second)));
            shadow.note(&spec, &subject, START.after(Duration::from_secs(second)));
        }
        let lines = log.lines();
        let of = |name: &str| lines.iter().map(|line| line.field(name).unwrap_or("")).collect::<Vec<_>>();
        assert_eq!(of("by"), ["caller", "address", "key", "everyone"]);
        assert_eq!(of("requests"), ["1", "2", "2", "2"]);
        assert_eq!((of("endpoint")[0], of("limit")[0]), ("users", "login"));
        assert_eq!((of("method")[0], of("path")[0]), ("GET", "/users"));
        assert!(!format!("{lines:?}").contains("alice"));
    }
}
