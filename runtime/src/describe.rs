//! Short descriptions of policies, such as `idempotent(ttl=24h)` and `100/min`. They are similar to
//! the attributes that declare the policies.

use core::fmt;
use core::time::Duration;

/// Joins a name and its options, such as `sunset(2026-12-31, enforce)`. Without options, returns
/// only the name.
pub(crate) fn with_options(name: &str, options: &[String]) -> String {
    if options.is_empty() {
        name.to_owned()
    } else {
        format!("{name}({})", options.join(", "))
    }
}

/// Displays a duration as attributes do, in the largest unit that divides it. Days are used only
/// from three days on, because most people write `24h` and `48h`.
pub(crate) struct InUnits(pub(crate) Duration);

impl fmt::Display for InUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if self.0.is_zero() || !self.0.as_nanos().is_multiple_of(1_000_000) {
            // No attribute can declare this duration, but a spec that is built in code can have it.
            return write!(f, "{:?}", self.0);
        }
        let fits = |(_, length, least): &&(&str, u128, u128)| {
            millis.is_multiple_of(*length) && millis >= *least
        };
        let (unit, length, _) = UNITS.iter().find(fits).unwrap_or(&("ms", 1, 1));
        write!(f, "{}{unit}", millis / length)
    }
}

/// For each unit its name, its milliseconds, and the smallest duration that is displayed in it.
const UNITS: [(&str, u128, u128); 4] = [
    ("d", DAY, 3 * DAY),
    ("h", 3_600_000, 3_600_000),
    ("min", 60_000, 60_000),
    ("s", 1_000, 1_000),
];

const DAY: u128 = 86_400_000;

/// Displays a number of bytes as attributes do, in the largest unit that divides it.
pub(crate) struct ByteSize(pub(crate) u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [
            ("MiB", 1 << 20),
            ("MB", 1_000_000),
            ("KiB", 1 << 10),
            ("KB", 1_000),
        ];
        let fits = |(_, size): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*size);
        let (unit, size) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_displayed_in_the_largest_usual_unit() {
        for (duration, expected) in [
            (Duration::from_millis(300), "300ms"),
            (Duration::from_secs(5), "5s"),
            (Duration::from_secs(90), "90s"),
            (Duration::from_mins(15), "15min"),
            (Duration::from_hours(24), "24h"),
            (Duration::from_hours(48), "48h"),
            (Duration::from_hours(24 * 365), "365d"),
            (Duration::ZERO, "0ns"),
            (Duration::from_micros(1500), "1.5ms"),
        ] {
            assert_eq!(InUnits(duration).to_string(), expected);
        }
    }

    #[test]
    fn sizes_are_displayed_in_the_largest_unit_that_divides_them() {
        for (bytes, expected) in [
            (0, "0B"),
            (1_000, "1KB"),
            (1_023, "1023B"),
            (256 << 10, "256KiB"),
            (1_000_000, "1MB"),
            (16 << 20, "16MiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), expected);
        }
    }
}
