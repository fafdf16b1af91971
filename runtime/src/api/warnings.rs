//! Warnings about declarations and settings that work, but are probably a mistake.

use super::Api;
use super::assemble::Settings;
use super::check::describe;
use crate::clock::Timestamp;
use crate::policies::deprecation::Phase;
use crate::policies::idempotency::IdempotencyPolicy;
use crate::spec::EndpointSpec;

/// Returns the warnings, one line each. `settings` is `None` if a setting is invalid.
pub(super) fn of<S>(api: &Api<S>, settings: Option<&Settings>) -> Vec<String> {
    let now = api.clock.now();
    let mut warnings = Vec::new();
    if api.store.is_memory() {
        warnings.extend(settings.and_then(|settings| unshared_store(settings.instances.count())));
    } else {
        warnings.extend(unlimited_keys(api.routes.specs()));
    }
    warnings.extend(
        api.routes
            .specs()
            .filter_map(|spec| deprecation_status(spec, now)),
    );
    warnings
}

/// Warns if several instances each use a memory store.
fn unshared_store(instances: u64) -> Option<String> {
    (instances > 1).then(|| {
        format!(
            "{instances} instances each have their own memory store for idempotency keys and rate limits: a retry \
             at another instance takes effect a second time; set APLOMB_STORE to a Redis that they share"
        )
    })
}

/// Warns of all endpoints that store keys without limiting their callers. One line names all of
/// them, because many lines could hide the other warnings.
fn unlimited_keys<'a>(specs: impl Iterator<Item = &'a EndpointSpec>) -> Option<String> {
    let is_unlimited = |spec: &&EndpointSpec| {
        let stores_keys = matches!(spec.idempotency, IdempotencyPolicy::Idempotent(_));
        // A limit in shadow mode refuses no request.
        stores_keys && spec.rate_limits.iter().all(|limit| limit.shadow)
    };
    let unlimited: Vec<String> = specs
        .filter(is_unlimited)
        .map(describe_with_source)
        .collect();
    let endpoints = match unlimited.len() {
        0 => return None,
        1 => String::from("an `idempotent` endpoint has"),
        count => format!("{count} `idempotent` endpoints have"),
    };
    Some(format!(
        "{endpoints} no `rate_limit`, so that one caller can fill the shared store with keys: {}",
        unlimited.join(", ")
    ))
}

/// Returns the endpoint with its file and line. Two versions of an endpoint may differ only in the
/// file and line.
fn describe_with_source(spec: &EndpointSpec) -> String {
    format!(
        "{} in {}:{}",
        describe(spec),
        spec.location.file,
        spec.location.line
    )
}

/// Warns of an endpoint that is deprecated or past its sunset.
fn deprecation_status(spec: &EndpointSpec, now: Timestamp) -> Option<String> {
    let (name, deprecation) = (describe_with_source(spec), spec.deprecation?);
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
            "{name} still serves requests after its sunset on{}: remove it, or write `enforce`",
            day(deprecation.sunset)
        )),
        Phase::Gone => Some(format!(
            "{name} has answered every request with 410 since its sunset on{}: remove it",
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

    const DEPRECATED: DeprecationSpec = DeprecationSpec::new()
        .with_deprecated(day(4))
        .with_sunset(day(6));
    const ENFORCED: DeprecationSpec = DEPRECATED.enforced();
    const LIMIT: RateLimitSpec = RateLimitSpec::new(1, Duration::from_secs(1));

    #[test]
    fn a_deprecated_endpoint_causes_a_warning_from_its_date_on() {
        let warning = |deprecation: &'static DeprecationSpec, month| {
            let spec = EndpointSpec::new(Method::Get, "/x", "x").with_location("m", "src/x.rs", 7);
            let spec = spec.with_deprecation(deprecation);
            deprecation_status(&spec, day(month).starts()).unwrap_or_default()
        };
        assert_eq!(warning(&DEPRECATED, 3), "");
        assert_eq!(
            warning(&DEPRECATED, 5),
            "`x` (GET /x) in src/x.rs:7 is deprecated since 2026-04-30, until 2026-06-30"
        );
        assert_eq!(
            warning(&DEPRECATED, 7),
            "`x` (GET /x) in src/x.rs:7 still serves requests after its sunset on 2026-06-30: remove it, or write `enforce`"
        );
        assert_eq!(
            warning(&ENFORCED, 7),
            "`x` (GET /x) in src/x.rs:7 has answered every request with 410 since its sunset on 2026-06-30: remove it"
        );
        assert_eq!(
            deprecation_status(&EndpointSpec::new(Method::Get, "/x", "x"), day(7).starts()),
            None
        );
    }

    #[test]
    fn a27_idempotent_endpoints_without_a_limit_are_named_in_one_warning() {
        let plain = EndpointSpec::new(Method::Post, "/x", "x").with_location("m", "src/x.rs", 7);
        let keyed = plain.with_idempotency(IdempotencyPolicy::Idempotent(IdempotencySpec::new()));
        let limited = keyed.with_rate_limits(const { &[LIMIT] });
        let shadowed = keyed.with_rate_limits(const { &[LIMIT.shadow()] });
        assert_eq!(unlimited_keys([plain, limited].iter()), None);
        assert_eq!(
            unlimited_keys([plain, limited, keyed].iter()).as_deref(),
            Some(
                "an `idempotent` endpoint has no `rate_limit`, so that one caller can fill the \
                 shared store with keys: `x` (POST /x) in src/x.rs:7"
            )
        );
        assert_eq!(
            unlimited_keys([keyed, shadowed].iter()).as_deref(),
            Some(
                "2 `idempotent` endpoints have no `rate_limit`, so that one caller can fill the \
                 shared store with keys: `x` (POST /x) in src/x.rs:7, `x` (POST /x) in src/x.rs:7"
            )
        );
    }

    #[test]
    fn several_instances_with_memory_stores_cause_a_warning() {
        assert_eq!(unshared_store(1), None);
        assert!(
            unshared_store(2)
                .is_some_and(|warning| warning.starts_with("2 instances each have their own"))
        );
    }
}
