//! Where promises are kept: the facets that policies need, and what can stand behind them.
//!
//! A facet is a small trait of whole operations, each one atomic step. Its documentation says what
//! a crash before or after a step leaves behind; a public conformance suite
//! ([`testing`](crate::testing)) proves it of a backend. Facets can be mixed:
//!
//! ```
//! use std::sync::Arc;
//! use aplomb::store::{MemoryLimits, MemoryRecords, Store};
//!
//! let store = Store::new(Arc::new(MemoryLimits::new()), Arc::new(MemoryRecords::new()));
//! ```

mod future;
mod memory;

use std::sync::Arc;

pub use future::{StoreError, StoreFuture};
pub use memory::{MemoryLimits, MemoryRecords};

use crate::clock::{Clock, SystemClock};
use crate::policies::idempotency::IdempotencyStore;
use crate::policies::rate_limit::LimitStore;
use crate::settings;
use crate::start::StartError;

/// One implementation of each facet.
#[derive(Debug, Clone)]
pub struct Store {
    facets: Result<Facets, StartError>,
}

#[derive(Debug, Clone)]
pub(crate) struct Facets {
    pub(crate) limits: Arc<dyn LimitStore>,
    pub(crate) records: Arc<dyn IdempotencyStore>,
}

const VARIABLE: &str = "APLOMB_STORE";

impl Store {
    /// These facets.
    pub fn new(limits: Arc<dyn LimitStore>, records: Arc<dyn IdempotencyStore>) -> Self {
        Self { facets: Ok(Facets { limits, records }) }
    }

    /// The store that `APLOMB_STORE` names; `memory:` where it is not set. A value that names none
    /// is said at start.
    pub fn from_env() -> Self {
        match settings::variable(VARIABLE) {
            Ok(None) => Self::memory(),
            Ok(Some(value)) => Self::named(&value),
            Err(error) => Self { facets: Err(error) },
        }
    }

    /// Everything in this process's memory: for tests, and for a single process that may forget.
    pub fn memory() -> Self {
        Self::memory_at(Arc::new(SystemClock::new()))
    }

    /// The same, by this clock.
    pub fn memory_at(clock: Arc<dyn Clock>) -> Self {
        let limits = MemoryLimits::with_capacity(MemoryLimits::DEFAULT_CAPACITY, Arc::clone(&clock));
        let (records, bytes) = (MemoryRecords::DEFAULT_RECORDS, MemoryRecords::DEFAULT_BYTES);
        Self::new(Arc::new(limits), Arc::new(MemoryRecords::with_bounds(records, bytes, clock)))
    }

    fn named(value: &str) -> Self {
        if value == "memory:" {
            return Self::memory();
        }
        let error =
            StartError::variable(VARIABLE, &without_password(value), "no such store; accepted: memory:");
        Self { facets: Err(error) }
    }

    pub(crate) fn into_facets(self) -> Result<Facets, StartError> {
        self.facets
    }
}

/// A URL as it may be shown: what stands before the host can be a password.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}…{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_store_says_what_is_accepted() {
        let error = Store::named("redsi://").into_facets().expect_err("no such store");
        assert_eq!(error.to_string(), r#"APLOMB_STORE="redsi://": no such store; accepted: memory:"#);
        let error = Store::named("redis://:hunter2@host").into_facets().expect_err("no such store");
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("redis://…@host"));
    }
}
