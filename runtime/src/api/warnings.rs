//! Warnings of what works and is probably a mistake.

use super::Api;
use super::assemble::Settings;
use super::check::named;
use crate::clock::Timestamp;
use crate::policies::idempotency::IdempotencyPolicy;
use crate::policies::retirement::Phase;
use crate::spec::EndpointSpec;

/// Warnings for an operator; `settings` are there if none is wrong.
pub(super) fn of<S>(api: &Api<S>, settings: Option<&Settings>) -> Vec<String> {
    let now = api.clock.now();
    let mut warnings = Vec::new();
    if api.store.is_memory() {
        warnings.extend(settings.and_then(|settings| shared_by_nobody(settings.instances.count())));
    } else {
        warnings.extend(api.routes.specs().filter_map(unlimited_keys));
    }
    warnings.extend(api.routes.specs().filter_map(|spec| retired(spec, now)));
    warnings
}

fn shared_by_nobody(instances: u64) -> Option<String> {
    (instances > 1).then(|| {
        format!(
            "there are {instances} instances and each keeps idempotency keys and limits in its own memory: a retry at \
             another instance has a second effect; name a Redis with APLOMB_STORE"
        )
    })
}

/// Whoever may call as often as it likes can fill a store that others share with keys.
fn unlimited_keys(spec: &EndpointSpec) -> Option<String> {
    let keeps_keys = matches!(spec.idempotency, IdempotencyPolicy::Idempotent(_));
    let is_limited = spec.rate_limits.iter().any(|limit| !limit.shadow);
    (keeps_keys && !is_limited).then(|| {
        format!(
            "{} is `idempotent` and has no `rate_limit`: one caller can fill the shared store with keys",
            placed(spec)
        )
    })
}

/// The endpoint and its place in the source: endpoints of two versions may share all but that.
fn placed(spec: &EndpointSpec) -> String {
    format!(
        "{} in {}:{}",
        named(spec),
        spec.location.file,
        spec.location.line
    )
}

fn retired(spec: &EndpointSpec, now: Timestamp) -> Option<String> {
    let (name, retirement) = (placed(spec), spec.retirement?);
    let day = |day: Option<_>| day.map(|day| format!(" {day}")).unwrap_or_default();
    match retirement.phase(now) {
        Phase::Announced => None,
        Phase::Deprecated => {
            let since = retirement
                .deprecated
                .map(|day| format!(" since {day}"))
                .unwrap_or_default();
            let until = retirement
                .sunset
                .map(|day| format!(", until {day}"))
                .unwrap_or_default();
            Some(format!("{name} is deprecated{since}{until}"))
        }
        Phase::AfterSunset => Some(format!(
            "{name} still answers after its sunset on{}: remove it, or say `enforce`",
            day(retirement.sunset)
        )),
        Phase::Gone => Some(format!(
            "{name} answers 410 since its sunset on{}: remove it",
            day(retirement.sunset)
        )),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::policies::idempotency::IdempotencySpec;
    use crate::policies::rate_limit::RateLimitSpec;
    use crate::policies::retirement::{Date, RetirementSpec};
    use crate::spec::Method;

    const fn day(month: u8) -> Date {
        Date::new(2026, month, 30).expect("a day")
    }

    const BOTH: RetirementSpec = RetirementSpec::new()
        .with_deprecated(day(4))
        .with_sunset(day(6));
    const ENFORCED: RetirementSpec = BOTH.enforced();
    const LIMIT: RateLimitSpec = RateLimitSpec::new(1, Duration::from_secs(1));

    #[test]
    fn retired_endpoints_are_named_from_their_deprecation_on() {
        let said = |retirement: &'static RetirementSpec, month| {
            let spec = EndpointSpec::new(Method::Get, "/x", "x").with_location("m", "src/x.rs", 7);
            let spec = spec.with_retirement(retirement);
            retired(&spec, day(month).starts()).unwrap_or_default()
        };
        assert_eq!(said(&BOTH, 3), "");
        assert_eq!(
            said(&BOTH, 5),
            "`x` (GET /x) in src/x.rs:7 is deprecated since 2026-04-30, until 2026-06-30"
        );
        assert_eq!(
            said(&BOTH, 7),
            "`x` (GET /x) in src/x.rs:7 still answers after its sunset on 2026-06-30: remove it, or say `enforce`"
        );
        assert_eq!(
            said(&ENFORCED, 7),
            "`x` (GET /x) in src/x.rs:7 answers 410 since its sunset on 2026-06-30: remove it"
        );
        assert_eq!(
            retired(&EndpointSpec::new(Method::Get, "/x", "x"), day(7).starts()),
            None
        );
    }

    #[test]
    fn an_idempotent_endpoint_without_a_limit_is_named() {
        let plain = EndpointSpec::new(Method::Post, "/x", "x");
        let keyed = plain.with_idempotency(IdempotencyPolicy::Idempotent(IdempotencySpec::new()));
        assert_eq!(unlimited_keys(&plain), None);
        assert!(
            unlimited_keys(&keyed)
                .is_some_and(|said| said.contains("is `idempotent` and has no `rate_limit`"))
        );
        assert_eq!(
            unlimited_keys(&keyed.with_rate_limits(const { &[LIMIT] })),
            None
        );
        assert!(
            unlimited_keys(&keyed.with_rate_limits(const { &[LIMIT.shadow()] })).is_some(),
            "it refuses nobody"
        );
    }

    #[test]
    fn instances_in_memory_share_nothing() {
        assert_eq!(shared_by_nobody(1), None);
        assert!(shared_by_nobody(2).is_some_and(|said| said.starts_with("there are 2 instances")));
    }
}
