use super::spec::DeprecationSpec;
use crate::clock::Timestamp;

/// The phase in the life of a deprecated endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The day of `deprecated` is in the future.
    Announced,
    /// The endpoint is deprecated and works as before.
    Deprecated,
    /// The sunset has passed, and the endpoint still works.
    AfterSunset,
    /// The sunset has passed, and requests are rejected.
    Gone,
}

impl DeprecationSpec {
    /// Returns the phase of the endpoint now. The phases after the sunset start with the first
    /// second of the day after `sunset`.
    pub const fn phase(&self, now: Timestamp) -> Phase {
        let second = now.as_secs();
        match (self.deprecated, self.sunset) {
            (_, Some(day)) if second > day.ends().as_secs() && self.enforced => Phase::Gone,
            (_, Some(day)) if second > day.ends().as_secs() => Phase::AfterSunset,
            (Some(day), _) if second < day.starts().as_secs() => Phase::Announced,
            _ => Phase::Deprecated,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::policies::deprecation::Date;

    const JUNE: Date = Date::new(2026, 6, 30).expect("a day");
    const DECEMBER: Date = Date::new(2026, 12, 31).expect("a day");
    const BOTH: DeprecationSpec = DeprecationSpec::new()
        .with_deprecated(JUNE)
        .with_sunset(DECEMBER);

    #[test]
    fn e03_the_phase_changes_after_the_last_second_of_the_sunset() {
        let last = DECEMBER.ends().after(Duration::from_micros(999_999));
        for (spec, after) in [(BOTH, Phase::AfterSunset), (BOTH.enforced(), Phase::Gone)] {
            assert_eq!(spec.phase(last), Phase::Deprecated);
            assert_eq!(spec.phase(last.after(Duration::from_micros(1))), after);
        }
    }

    #[test]
    fn e02_a_deprecation_in_the_future_is_announced() {
        let before = Timestamp::from_micros(JUNE.starts().as_micros() - 1);
        assert_eq!(BOTH.phase(before), Phase::Announced);
        assert_eq!(BOTH.phase(JUNE.starts()), Phase::Deprecated);
        let sunset_only = DeprecationSpec::new().with_sunset(DECEMBER);
        assert_eq!(sunset_only.phase(before), Phase::Deprecated);
    }

    fn any_day() -> impl Strategy<Value = Date> {
        (2000_u16..2100, 1_u8..=12, 1_u8..=28).prop_map(|(year, month, day)| {
            Date::new(year, month, day).expect("every month has 28 days")
        })
    }

    fn any_spec() -> impl Strategy<Value = DeprecationSpec> {
        (
            prop::option::of(any_day()),
            prop::option::of(any_day()),
            any::<bool>(),
        )
            .prop_map(|(deprecated, sunset, enforced)| DeprecationSpec {
                deprecated: deprecated.filter(|day| sunset.is_none_or(|sunset| *day <= sunset)),
                sunset,
                enforced,
                ..DeprecationSpec::new()
            })
    }

    proptest! {
        #[test]
        fn e03_phases_never_go_back(
            spec in any_spec(),
            moment in 900_000_000_000_000_u64..4_200_000_000_000_000,
            later in 0_u64..1_000_000_000_000_000,
        ) {
            let (now, then) = (Timestamp::from_micros(moment), Timestamp::from_micros(moment + later));
            prop_assert!(spec.phase(now) <= spec.phase(then));
            let passed = spec.sunset.is_some_and(|day| now.as_secs() > day.ends().as_secs());
            prop_assert_eq!(spec.phase(now) == Phase::Gone, passed && spec.enforced);
            prop_assert_eq!(spec.phase(now) == Phase::AfterSunset, passed && !spec.enforced);
        }
    }
}
