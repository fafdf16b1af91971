use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rand::Rng;
use ulid::{Generator, Ulid};

use super::IdOverflow;

/// A source of identifiers. Each identifier is greater than the one before, even if the clock steps
/// back.
pub(super) struct UlidSource(Mutex<Generator>);

impl UlidSource {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Generator::new()))
    }

    /// Returns the next ULID. While the clock has not passed the millisecond of the last ULID, the
    /// next ULID is the last one plus 1. Otherwise it has the current time and a new random part.
    ///
    /// If the random part cannot be incremented, returns an error until the clock advances. The
    /// random part never wraps around, because this would repeat identifiers.
    pub(super) fn next(&self, now: SystemTime, random: &mut impl Rng) -> Result<Ulid, IdOverflow> {
        let mut generator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generator
            .generate_from_datetime_with_source(now, random)
            .map_err(|_| IdOverflow)
    }
}
