//! What is taken at most from limits that several endpoints share.

use std::collections::HashMap;

use super::quota::Quota;
use super::spec::RateLimitSpec;
use crate::spec::EndpointSpec;

/// How many tokens the dearest request of all endpoints takes from each limit that has a name: an instance that
/// decides alone has one share of a bucket, whichever endpoint asks.
#[derive(Debug, Default)]
pub(crate) struct MaxCosts(HashMap<&'static str, u64>);

impl MaxCosts {
    /// Of these endpoints.
    pub(crate) fn of<'a>(specs: impl Iterator<Item = &'a EndpointSpec>) -> Self {
        let mut dearest = HashMap::new();
        for limit in specs.flat_map(|spec| spec.rate_limits) {
            if let Some(name) = limit.name {
                let most = dearest.entry(name).or_default();
                *most = cost(limit).max(*most);
            }
        }
        Self(dearest)
    }

    /// What the dearest request takes from this limit.
    pub(super) fn request(&self, limit: &RateLimitSpec, quota: Quota) -> u64 {
        let shared = limit.name.and_then(|name| self.0.get(name)).copied();
        shared.unwrap_or_else(|| cost(limit)).min(quota.burst())
    }
}

/// What a function says is at most the burst.
fn cost(limit: &RateLimitSpec) -> u64 {
    limit.cost.known().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::spec::Method;

    const LIMIT: RateLimitSpec = RateLimitSpec::new(100, Duration::from_mins(1));
    const SHARED: RateLimitSpec = LIMIT.with_name("shared");
    const FREE: RateLimitSpec = LIMIT.with_name("free");
    const CHEAP: EndpointSpec =
        EndpointSpec::new(Method::Get, "/cheap", "cheap").with_rate_limits(&[SHARED, FREE, LIMIT]);
    const DEAR: EndpointSpec = EndpointSpec::new(Method::Get, "/dear", "dear").with_rate_limits(&[
        SHARED.with_cost(50),
        FREE.with_cost_of(|_| 3),
        LIMIT.with_cost(7),
    ]);

    #[test]
    fn b15_the_dearest_of_all_endpoints_counts_where_they_share_a_limit() {
        let (dearest, quota) = (
            MaxCosts::of([&CHEAP, &DEAR].into_iter()),
            Quota::of(&LIMIT).expect("valid"),
        );
        let of = |spec: &EndpointSpec| -> Vec<u64> {
            spec.rate_limits
                .iter()
                .map(|limit| dearest.request(limit, quota))
                .collect()
        };
        assert_eq!(
            (of(&CHEAP), of(&DEAR)),
            (vec![50, 100, 1], vec![50, 100, 7])
        );
    }
}
