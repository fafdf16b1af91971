use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::policies::idempotency::Token;

/// The tokens of the runs whose `begin` was sent twice, because the connection broke.
///
/// The server may execute the first copy after the run has ended. After a completion it finds the
/// completed record. After an abort it would start a run that does not exist, so the abort then
/// writes a marker.
#[derive(Debug, Default)]
pub(super) struct ResentBegins(Mutex<HashMap<Token, Instant>>);

/// The time after which a run is forgotten that was not settled.
const FORGET_AFTER: Duration = Duration::from_hours(1);

impl ResentBegins {
    pub(super) fn insert(&self, token: Token) {
        let mut tokens = self.tokens();
        tokens.retain(|_, since| since.elapsed() < FORGET_AFTER);
        tokens.insert(token, Instant::now());
    }

    pub(super) fn contains(&self, token: Token) -> bool {
        self.tokens().contains_key(&token)
    }

    pub(super) fn remove(&self, token: Token) {
        self.tokens().remove(&token);
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Token, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
