//! Warnings of what works and is probably a mistake.

use super::Api;
use super::assemble::Settings;
use super::check::named;
use crate::clock::Timestamp;
use crate::policies::deprecation::Phase;
use crate::policies::idempotency::IdempotencyPolicy;
use crate::spec::EndpointSpec;

/// Warnings for an operator; `settings` are there if none is wrong.
pub(super) fn of<S>(api: &Api<S>, settings: Option<&Settings>) -> Vec<String> {
    let now = api.clock.now();
    let mut warnings = Vec::new();
    if api.store.is_memory() {
        warnings
            .extend(settings.and_then(|settings| unshared_limit_name(settings.instances.count())));
    } else {
        warnings.extend(api.routes.specs().filter_map(unlimited_keys));
    }
    warnings.extend(
        api.routes
            .specs()
            .filter_map(|spec| deprecation_status(spec, now)),
    );
    warnings
}

fn unshared_limit_name(instances: u64) -> Option<String> {
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
            located(spec)
        )
    })
}

/// The endpoint and its place in the source: endpoints of two versions may share all but that.
fn located(spec: &EndpointSpec) -> String {
    format!(
        "{} in {}:{}",
        named(spec),
        spec.location.file,
        spec.location.line
    )
}

fn deprecation_status(spec: &EndpointSpec, now: Timestamp) -> Option<String> {
    let (name, deprecation) = (located(spec), spec.deprecation?);
    let day = |day: Option<_>| day.map(|day| format!(" {day}")).unwrap_or_default();
    match deprecation.phase(now) {
        Phase::Announced => None,
        Phase::Deprecated => {
            let since = deprecation
                .deprecated
                .map(|day| format!(" since {day}"))
                .unwrap_or_default();
            let until = deprecation
                .sunset
                .map(|day| format!(", until {day}"))
                .unwrap_or_default();
            Some(format!("{name} is deprecated{since}{until}"))
        }
        Phase::AfterSunset => Some(format!(
            "{name} still answers after its sunset on{}: remove it, or say `enforce`",
            day(deprecation.sunset)
        )),
        Phase::Gone => Some(format!(
            "{name} answers 410 since its sunset on{}: remove it",
            day(deprecation.sunset)
        )),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::policies::deprecation::{Date, DeprecationSpec};
    use crate::policies::idempotency::IdempotencySpec;
    use crate::policies::rate_limit::RateLimitSpec;
    use crate::spec::Method;

    const fn day(month: u8) -> Date {
        Date::new(2026, month, 30).expect("a day")
    }

    const BOTH: DeprecationSpec = DeprecationSpec::new()
        .with_deprecated(day(4))
        .with_sunset(day(6));
    const ENFORCED: DeprecationSpec = BOTH.enforced();
    const LIMIT: RateLimitSpec = RateLimitSpec::new(1, Duration::from_secs(1));

    #[test]
    fn deprecated_endpoints_are_named_from_their_date_on() {
        let said = |deprecation: &'static DeprecationSpec, month| {
            let spec = EndpointSpec::new(Method::Get, "/x", "x").with_location("m", "src/x.rs", 7);
            let spec = spec.with_deprecation(deprecation);
            deprecation_status(&spec, day(month).starts()).unwrap_or_default()
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
            deprecation_status(&EndpointSpec::new(Method::Get, "/x", "x"), day(7).starts()),
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
        assert_eq!(unshared_limit_name(1), None);
        assert!(
            unshared_limit_name(2).is_some_and(|said| said.starts_with("there are 2 instances"))
        );
    }
}
