use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::decide::Phase;
use crate::spec::{EndpointSpec, Method};

/// The numbers of calls of the endpoints that declare `deprecated` or `sunset`. They show when an
/// endpoint can be removed. Clones share the same numbers.
#[derive(Debug, Clone, Default)]
pub struct DeprecatedCalls(Arc<[Arc<Counter>]>);

/// The calls of one endpoint under one route, since the process started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCount {
    /// The name of the endpoint.
    pub endpoint: &'static str,
    /// The method of the endpoint.
    pub method: Method,
    /// The route's template, with its version, such as `/v1/accounts/{id}`.
    pub route: String,
    /// The version of the route; `None` for an endpoint without versions.
    pub version: Option<u32>,
    /// All calls, with any response.
    pub calls: u64,
    /// The calls after the sunset, rejected or not.
    pub after_sunset: u64,
    /// The calls that were rejected, because the sunset is enforced.
    pub refused: u64,
}

impl DeprecatedCalls {
    /// Creates a counter for each route of each deprecated endpoint. A route has a template and a
    /// version.
    pub(crate) fn new(
        routes: impl Iterator<Item = (&'static EndpointSpec, String, Option<u32>)>,
    ) -> Self {
        let deprecated = routes.filter(|(spec, ..)| spec.deprecation.is_some());
        Self(
            deprecated
                .map(|(spec, route, version)| Arc::new(Counter::new(spec, route, version)))
                .collect(),
        )
    }

    /// Returns the current numbers, in the order of the endpoints in the API.
    pub fn snapshot(&self) -> Vec<CallCount> {
        self.0.iter().map(|counter| counter.snapshot()).collect()
    }

    pub(crate) fn counter(&self, spec: &EndpointSpec, route: &str) -> Option<Arc<Counter>> {
        let mut counters = self.0.iter();
        counters
            .find(|counter| counter.spec.method == spec.method && counter.route == route)
            .cloned()
    }
}

/// Counts the calls of one endpoint under one route.
///
/// The numbers are independent, so relaxed atomics suffice. A snapshot that is taken during a call
/// can include the call in only some of the numbers.
#[derive(Debug)]
pub(crate) struct Counter {
    spec: &'static EndpointSpec,
    route: String,
    version: Option<u32>,
    calls: AtomicU64,
    after_sunset: AtomicU64,
    refused: AtomicU64,
}

impl Counter {
    fn new(spec: &'static EndpointSpec, route: String, version: Option<u32>) -> Self {
        let [calls, after_sunset, refused] = [const { AtomicU64::new(0) }; 3];
        Self {
            spec,
            route,
            version,
            calls,
            after_sunset,
            refused,
        }
    }

    pub(super) fn route(&self) -> &str {
        &self.route
    }

    pub(super) fn increment(&self, phase: Phase) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if phase >= Phase::AfterSunset {
            self.after_sunset.fetch_add(1, Ordering::Relaxed);
        }
        if phase == Phase::Gone {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn snapshot(&self) -> CallCount {
        CallCount {
            endpoint: self.spec.name,
            method: self.spec.method,
            route: self.route.clone(),
            version: self.version,
            calls: self.calls.load(Ordering::Relaxed),
            after_sunset: self.after_sunset.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
