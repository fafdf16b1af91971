use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rand::Rng;
use ulid::{Generator, Ulid};

use super::IdOverflow;

/// A source of identifiers. Each one is greater than the one before, also if the clock steps back.
pub(super) struct UlidSource(Mutex<Generator>);

impl UlidSource {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Generator::new()))
    }

    /// Returns the next ULID: the last one plus 1 in the same millisecond and while the clock is
    /// behind it, or else one with the current time and a new random part.
    ///
    /// If the random part cannot be incremented, returns an error until the clock advances. It
    /// never wraps around, which would repeat identifiers.
    pub(super) fn next(&self, now: SystemTime, random: &mut impl Rng) -> Result<Ulid, IdOverflow> {
        let mut generator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generator
            .generate_from_datetime_with_source(now, random)
            .map_err(|_| IdOverflow)
    }
}
