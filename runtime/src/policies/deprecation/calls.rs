use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::decide::Phase;
use crate::spec::{EndpointSpec, Method};

/// How often the endpoints of an API that declare `deprecated` or `sunset` are called: who watches it
/// knows when one can go. Clones look at the same numbers.
#[derive(Debug, Clone, Default)]
pub struct DeprecatedCalls(Arc<[Arc<Counter>]>);

/// The calls of one endpoint under one route since the process began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCount {
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// Its method.
    pub method: Method,
    /// The route's template with its version, such as `/v1/accounts/{id}`.
    pub route: String,
    /// The version, where it has one.
    pub version: Option<u32>,
    /// All calls, whatever the answer was.
    pub calls: u64,
    /// Those after the sunset, refused or not.
    pub after_sunset: u64,
    /// Those that were refused, because the sunset is enforced.
    pub refused: u64,
}

impl DeprecatedCalls {
    /// Nothing counted, one counter for each endpoint that is given up, under each of its
    /// routes, which have a template and a version.
    pub(crate) fn of(
        routes: impl Iterator<Item = (&'static EndpointSpec, String, Option<u32>)>,
    ) -> Self {
        let given_up = routes.filter(|(spec, ..)| spec.deprecation.is_some());
        Self(
            given_up
                .map(|(spec, route, version)| Arc::new(Counter::new(spec, route, version)))
                .collect(),
        )
    }

    /// The numbers by now, in the order of the list of endpoints.
    pub fn snapshot(&self) -> Vec<CallCount> {
        self.0.iter().map(|counter| counter.read()).collect()
    }

    pub(crate) fn counter(&self, spec: &EndpointSpec, route: &str) -> Option<Arc<Counter>> {
        let mut counters = self.0.iter();
        counters
            .find(|counter| counter.spec.method == spec.method && counter.route == route)
            .cloned()
    }
}

/// Counts the calls of one endpoint under one route. The numbers are only added up, so that nothing
/// depends on their order.
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

    fn read(&self) -> CallCount {
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
