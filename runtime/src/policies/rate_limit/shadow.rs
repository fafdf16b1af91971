//! Limits that count and never refuse: what they would have refused is written to the log.

use core::time::Duration;

use super::store::LimitSubject;
use crate::clock::Timestamp;
use crate::log_throttle::LogThrottle;
use crate::spec::EndpointSpec;

/// What one shadow limit of an endpoint would have refused.
#[derive(Debug)]
pub(crate) struct Shadow {
    limit: String,
    tally: LogThrottle,
}

/// At most one line in this time.
const PAUSE: Duration = Duration::from_secs(1);

impl Shadow {
    /// The shadow limit of this name.
    pub(crate) fn new(limit: String) -> Self {
        Self {
            limit,
            tally: LogThrottle::new(PAUSE),
        }
    }

    /// Counts one more request that the limit would have refused.
    pub(crate) fn note(&self, spec: &EndpointSpec, subject: &LimitSubject<'_>, now: Timestamp) {
        let Some(requests) = self.tally.add(now) else {
            return;
        };
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
}

/// Whose request it was, without saying who.
fn kind(subject: &LimitSubject<'_>) -> &'static str {
    match subject {
        LimitSubject::Caller(_) => "caller",
        LimitSubject::Address(_) => "address",
        LimitSubject::Key(_) => "key",
        LimitSubject::Everyone => "everyone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Caller;
    use crate::spec::Method;
    use crate::testing::TestLog;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn b17_a_line_names_endpoint_limit_and_kind_of_caller_and_not_who() {
        let log = TestLog::of("rate_limit::shadow");
        let _said = log.listen();
        let spec = EndpointSpec::new(Method::Get, "/users", "users");
        let shadow = Shadow::new(String::from("login"));
        let (alice, address) = (
            Caller::new("alice"),
            "192.0.2.1".parse().expect("an address"),
        );
        for (second, subject) in (0..).zip([
            LimitSubject::Caller(&alice),
            LimitSubject::Address(address),
            LimitSubject::Key("alice"),
            LimitSubject::Everyone,
        ]) {
            shadow.note(&spec, &subject, START.after(Duration::from_secs(second)));
            shadow.note(&spec, &subject, START.after(Duration::from_secs(second)));
        }
        let lines = log.lines();
        let of = |name: &str| {
            lines
                .iter()
                .map(|line| line.field(name).unwrap_or(""))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("by"), ["caller", "address", "key", "everyone"]);
        assert_eq!(of("requests"), ["1", "2", "2", "2"]);
        assert_eq!((of("endpoint")[0], of("limit")[0]), ("users", "login"));
        assert_eq!((of("method")[0], of("path")[0]), ("GET", "/users"));
        assert!(!format!("{lines:?}").contains("alice"));
    }
}
