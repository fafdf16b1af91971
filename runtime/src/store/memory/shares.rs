//! The share of each holder in a table of records.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::policies::idempotency::RecordHolder;

/// The number and the size of records, as a limit or as an amount that is used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// The usage of each holder that has a record.
///
/// The map hashes with a random state, because clients can choose their addresses.
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<RecordHolder, Usage>);

impl Shares {
    /// Returns the usage of a holder, which is zero if the holder has no records.
    pub(super) fn usage(&self, holder: &RecordHolder) -> Usage {
        self.0.get(holder).copied().unwrap_or_default()
    }

    /// Adds a record of this size.
    pub(super) fn add(&mut self, holder: RecordHolder, bytes: usize) {
        let usage = self.0.entry(holder).or_default();
        usage.records += 1;
        usage.bytes += bytes;
    }

    /// Removes a record of this size. The holder's last record removes the holder.
    pub(super) fn remove(&mut self, holder: RecordHolder, bytes: usize) {
        if let Entry::Occupied(mut entry) = self.0.entry(holder) {
            let usage = entry.get_mut();
            usage.records -= 1;
            usage.bytes -= bytes;
            if usage.records == 0 {
                entry.remove();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn to_map(&self) -> HashMap<RecordHolder, Usage> {
        self.0.clone()
    }
}

/// Returns `true` if a holder that uses `held` gets no new records.
///
/// This is the case if more than three quarters of a limit are used, and the holder uses more than
/// a tenth of the same limit. So one holder cannot use the last quarter. Below three quarters, a
/// holder can use any part of the store.
pub(super) fn exceeds_quota(held: Usage, used: Usage, bounds: Usage) -> bool {
    let exceeds = |held: usize, used: usize, bound: usize| {
        used.saturating_mul(4) > bound.saturating_mul(3) && held.saturating_mul(10) > bound
    };
    exceeds(held.records, used.records, bounds.records)
        || exceeds(held.bytes, used.bytes, bounds.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a27_a_quota_needs_more_than_three_quarters_and_more_than_a_tenth_of_the_same_limit() {
        let usage = |records, bytes| Usage { records, bytes };
        let bounds = usage(1_000, 100_000);
        for (held, used, exceeded) in [
            (usage(101, 0), usage(751, 0), true),
            (usage(100, 0), usage(751, 0), false),
            (usage(750, 0), usage(750, 0), false),
            (usage(0, 10_001), usage(0, 75_001), true),
            (usage(0, 10_000), usage(0, 75_001), false),
            (usage(0, 75_000), usage(0, 75_000), false),
            // A large share of the records counts only if the records are scarce.
            (usage(500, 0), usage(500, 99_000), false),
            (usage(1, 50_000), usage(999, 50_000), false),
        ] {
            assert_eq!(
                exceeds_quota(held, used, bounds),
                exceeded,
                "{held:?} {used:?}"
            );
        }
    }

    #[test]
    fn a27_a_holder_without_records_takes_no_memory() {
        let mut shares = Shares::default();
        let holder = RecordHolder::Caller([1; 16]);
        shares.add(holder, 5);
        shares.add(holder, 7);
        shares.remove(holder, 5);
        let left = Usage {
            records: 1,
            bytes: 7,
        };
        assert_eq!(shares.usage(&holder), left);
        shares.remove(holder, 7);
        assert_eq!(shares.usage(&holder), Usage::default());
        assert!(shares.to_map().is_empty());
    }
}
