use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rand::Rng;
use ulid::{Generator, Ulid};

use super::IdOverflow;

/// Where identifiers come from: each is above the last one, whatever the clock does.
pub(super) struct Source(Mutex<Generator>);

impl Source {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Generator::new()))
    }

    /// The last one plus 1, in its millisecond and while the clock is behind it; else one of now with a new
    /// random part. A random part that cannot be raised is an error until the clock goes on, and never a wrap.
    pub(super) fn next(&self, now: SystemTime, random: &mut impl Rng) -> Result<Ulid, IdOverflow> {
        let mut generator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generator
            .generate_from_datetime_with_source(now, random)
            .map_err(|_| IdOverflow)
    }
}
