//! Shadow limits count and log the requests that they would reject, but they reject no request.

use core::time::Duration;

use super::store::LimitSubject;
use crate::clock::Timestamp;
use crate::log_throttle::LogThrottle;
use crate::spec::EndpointSpec;

/// The log of one shadow limit of an endpoint.
#[derive(Debug)]
pub(crate) struct Shadow {
    limit: String,
    throttle: LogThrottle,
}

/// The time between two log lines, so that a busy limit does not flood the log.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Shadow {
    /// Creates the log of the limit with this name.
    pub(crate) fn new(limit: String) -> Self {
        Self {
            limit,
            throttle: LogThrottle::new(LOG_INTERVAL),
        }
    }

    /// Counts a request that the limit would have rejected.
    pub(crate) fn count(&self, spec: &EndpointSpec, subject: &LimitSubject<'_>, now: Timestamp) {
        let Some(requests) = self.throttle.add(now) else {
            return;
        };
        tracing::info!(
            endpoint = spec.name,
            method = %spec.method,
            path = spec.path,
            limit = self.limit,
            by = subject_kind(subject),
            requests,
            "a shadow limit would have rejected requests"
        );
    }
}

/// Returns the kind of a bucket. The caller or address itself is not logged.
fn subject_kind(subject: &LimitSubject<'_>) -> &'static str {
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
    fn b17_a_log_line_has_the_endpoint_the_limit_and_the_kind_of_bucket_but_not_the_caller() {
        let log = TestLog::of("rate_limit::shadow");
        let _guard = log.listen();
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
            shadow.count(&spec, &subject, START.after(Duration::from_secs(second)));
            shadow.count(&spec, &subject, START.after(Duration::from_secs(second)));
        }
        let lines = log.lines();
        let values = |name: &str| {
            lines
                .iter()
                .map(|line| line.field(name).unwrap_or(""))
                .collect::<Vec<_>>()
        };
        assert_eq!(values("by"), ["caller", "address", "key", "everyone"]);
        assert_eq!(values("requests"), ["1", "2", "2", "2"]);
        assert_eq!(
            (values("endpoint")[0], values("limit")[0]),
            ("users", "login")
        );
        assert_eq!((values("method")[0], values("path")[0]), ("GET", "/users"));
        assert!(!format!("{lines:?}").contains("alice"));
    }
}
