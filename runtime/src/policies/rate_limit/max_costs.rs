//! The highest costs of limits that several endpoints share.

use std::collections::HashMap;

use super::quota::Quota;
use super::spec::RateLimitSpec;
use crate::spec::EndpointSpec;

/// The highest cost of each named limit, over all endpoints that declare it.
///
/// While the store does not reply, an instance uses a bucket in its own memory, with its share of
/// the burst. The share is at least this cost, so it is the same for all endpoints of the limit.
#[derive(Debug, Default)]
pub(crate) struct MaxCosts(HashMap<&'static str, u64>);

impl MaxCosts {
    /// Collects the highest costs of these endpoints.
    pub(crate) fn from_specs<'a>(specs: impl Iterator<Item = &'a EndpointSpec>) -> Self {
        let mut costs = HashMap::new();
        for limit in specs.flat_map(|spec| spec.rate_limits) {
            if let Some(name) = limit.name {
                let max = costs.entry(name).or_default();
                *max = declared_max(limit).max(*max);
            }
        }
        Self(costs)
    }

    /// Returns the most tokens that one request takes from this limit.
    pub(super) fn max_cost(&self, limit: &RateLimitSpec, quota: Quota) -> u64 {
        let shared = limit.name.and_then(|name| self.0.get(name)).copied();
        shared
            .unwrap_or_else(|| declared_max(limit))
            .min(quota.burst())
    }
}

/// Returns the highest cost that an endpoint declares. Returns `u64::MAX` if a function computes
/// the cost; [`MaxCosts::max_cost`] then lowers this number to the burst.
fn declared_max(limit: &RateLimitSpec) -> u64 {
    limit.cost.fixed().unwrap_or(u64::MAX)
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
    const COSTLY: EndpointSpec = EndpointSpec::new(Method::Get, "/costly", "costly")
        .with_rate_limits(&[
            SHARED.with_cost(50),
            FREE.with_cost_of(|_| 3),
            LIMIT.with_cost(7),
        ]);

    #[test]
    fn b15_the_max_cost_of_a_shared_limit_is_the_highest_of_its_endpoints() {
        let (max_costs, quota) = (
            MaxCosts::from_specs([&CHEAP, &COSTLY].into_iter()),
            Quota::of(&LIMIT).expect("valid"),
        );
        let costs_of = |spec: &EndpointSpec| -> Vec<u64> {
            spec.rate_limits
                .iter()
                .map(|limit| max_costs.max_cost(limit, quota))
                .collect()
        };
        assert_eq!(
            (costs_of(&CHEAP), costs_of(&COSTLY)),
            (vec![50, 100, 1], vec![50, 100, 7])
        );
    }
}
