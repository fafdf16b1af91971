//! `APLOMB_LIMITS`: rates that operators set for named limits.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::quota::Quota;
use super::rate::{Rate, digits};
use super::spec::{Algorithm, RateLimitSpec};
use crate::settings;
use crate::spec::EndpointSpec;
use crate::start::{StartError, StartErrors};

/// The overridden limits by name. Each name is declared by an endpoint, and the new burst covers
/// the costs of all endpoints that declare the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(HashMap<String, Override>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Override {
    rate: Rate,
    burst: Option<u64>,
}

const VARIABLE: &str = "APLOMB_LIMITS";

const EXPECTED_ENTRY: &str =
    "expected name=rate, such as payments=1000/min or payments=1000/min:burst=50";

impl Overrides {
    /// Reads the environment for the limits of these endpoints.
    pub(crate) fn from_env<'a>(
        specs: impl Iterator<Item = &'a EndpointSpec>,
    ) -> Result<Self, StartErrors> {
        match settings::variable(VARIABLE)? {
            None => Ok(Self::default()),
            Some(text) => Self::parse(&text, &specs.collect::<Vec<_>>()),
        }
    }

    /// Parses `payments=1000/min,login=5/min:burst=20`. Each wrong entry is one error.
    pub(crate) fn parse(text: &str, specs: &[&EndpointSpec]) -> Result<Self, StartErrors> {
        let (mut overrides, mut errors, mut seen) =
            (HashMap::new(), StartErrors::new(), HashSet::new());
        for entry in text.split(',').map(str::trim) {
            match parse_entry(entry, specs, &mut seen) {
                Ok((name, value)) => drop(overrides.insert(name.to_owned(), value)),
                Err(why) => {
                    errors.push(StartError::variable(
                        VARIABLE,
                        text,
                        format!("entry `{entry}`: {why}"),
                    ));
                }
            }
        }
        errors.into_result().map(|()| Self(overrides))
    }

    /// Returns the declared limit with its override, if there is one.
    pub(crate) fn apply(&self, declared: &RateLimitSpec) -> RateLimitSpec {
        let value = declared.name.and_then(|name| self.0.get(name));
        value.map_or(*declared, |value| value.apply(declared))
    }
}

impl Override {
    /// Parses `1000/min` or `1000/min:burst=50`.
    fn parse(text: &str) -> Result<Self, String> {
        let Some((rate, option)) = text.split_once(':') else {
            return Ok(Self {
                rate: Rate::parse(text)?,
                burst: None,
            });
        };
        let wrong = || {
            format!(
                "`:{option}` is not an option of a limit: expected a burst of at least 1, such as :burst=50"
            )
        };
        let burst = option
            .strip_prefix("burst=")
            .and_then(digits)
            .filter(|burst| *burst > 0);
        Ok(Self {
            rate: Rate::parse(rate)?,
            burst: Some(burst.ok_or_else(wrong)?),
        })
    }

    /// Returns the limit with the new rate. The new burst is the burst of the override, if it has
    /// one. Otherwise it is the declared burst, if that differs from the number of requests in the
    /// declared rate. Otherwise it is the number of requests in the new rate.
    fn apply(self, declared: &RateLimitSpec) -> RateLimitSpec {
        let declared_burst = (!declared.algorithm.is_window()
            && declared.burst != declared.permits)
            .then_some(declared.burst);
        let Rate { permits, period } = self.rate;
        RateLimitSpec {
            permits,
            period,
            burst: self.burst.or(declared_burst).unwrap_or(permits),
            ..*declared
        }
    }

    /// Checks that a bucket can implement the limit and can admit a request of this endpoint.
    fn check(self, declared: &RateLimitSpec, spec: &EndpointSpec) -> Result<(), String> {
        let limit = self.apply(declared);
        if limit.algorithm.is_window() && self.burst.is_some() {
            return Err(String::from(
                "the limit counts by windows, which have no burst of their own: remove :burst",
            ));
        }
        // The cost that a function computes is unknown at start. It is lowered to the burst, so it
        // always fits.
        if let Some(cost) = limit.cost.fixed().filter(|cost| *cost > limit.burst) {
            return Err(burst_below_cost(limit.burst, cost, spec));
        }
        if limit.prefetch > 0 && Quota::of(&limit).is_none() {
            return Err(burst_too_small_for_prefetch(&limit));
        }
        if limit.algorithm == Algorithm::SlidingWindow && limit.permits > Quota::MAX_LOG {
            return Err(log_too_long(&limit));
        }
        match Quota::of(&limit) {
            Some(_) => Ok(()),
            None => Err(String::from(
                "its bucket does not refill within a hundred years: expected a higher rate or a smaller burst",
            )),
        }
    }
}

/// Parses `payments=1000/min`. `seen` has the names of the earlier entries.
fn parse_entry<'a>(
    entry: &'a str,
    specs: &[&EndpointSpec],
    seen: &mut HashSet<&'a str>,
) -> Result<(&'a str, Override), String> {
    let (name, value) = entry.split_once('=').ok_or(EXPECTED_ENTRY)?;
    if !seen.insert(name) {
        return Err(format!(
            "the limit `{name}` is set twice: expected one entry per name"
        ));
    }
    let named = declared_limits(specs).filter(|(limit, _)| limit.name == Some(name));
    let (costliest, spec) = named
        .max_by_key(|(limit, _)| limit.cost.fixed())
        .ok_or_else(|| unknown_name(name, specs))?;
    let value = Override::parse(value)?;
    value.check(costliest, spec).map(|()| (name, value))
}

fn declared_limits<'a>(
    specs: &[&'a EndpointSpec],
) -> impl Iterator<Item = (&'a RateLimitSpec, &'a EndpointSpec)> {
    specs
        .iter()
        .flat_map(|spec| spec.rate_limits.iter().map(move |limit| (limit, *spec)))
}

fn unknown_name(name: &str, specs: &[&EndpointSpec]) -> String {
    let names: BTreeSet<&str> = declared_limits(specs)
        .filter_map(|(limit, _)| limit.name)
        .collect();
    if names.is_empty() {
        return String::from("no endpoint names a limit: add a `name` to its `rate_limit(…)`");
    }
    let names = names.into_iter().collect::<Vec<_>>().join("`, `");
    format!("no endpoint names a limit `{name}`: expected one of `{names}`")
}

fn burst_too_small_for_prefetch(limit: &RateLimitSpec) -> String {
    let (burst, batch) = (limit.burst, limit.prefetch);
    let min = batch
        .saturating_mul(2)
        .saturating_add(limit.cost.fixed().unwrap_or(1));
    format!(
        "its bucket holds {burst}, and `prefetch = {batch}` needs room for two batches and a request: expected a burst \
         of at least {min}, such as :burst={min}"
    )
}

fn log_too_long(limit: &RateLimitSpec) -> String {
    let (permits, max) = (limit.permits, Quota::MAX_LOG);
    format!(
        "a sliding window logs at most {max} tokens, and not {permits}: expected a rate of at most {max}"
    )
}

fn burst_below_cost(burst: u64, cost: u64, spec: &EndpointSpec) -> String {
    format!(
        "its bucket holds {burst}, and `{}` ({} {}) costs {cost}: expected a burst of at least {cost}, such as \
         :burst={cost}",
        spec.name, spec.method, spec.path
    )
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::policies::rate_limit::Cost;
    use crate::spec::Method;

    const MINUTE: Duration = Duration::from_mins(1);
    const PAYMENTS: RateLimitSpec = RateLimitSpec::new(100, MINUTE).with_name("payments");
    const LOGIN: RateLimitSpec = RateLimitSpec::new(5, MINUTE)
        .with_burst(20)
        .with_name("login");
    const PAY: EndpointSpec =
        EndpointSpec::new(Method::Post, "/payments", "pay").with_rate_limits(&[PAYMENTS, LOGIN]);
    const REFUND: EndpointSpec = EndpointSpec::new(Method::Post, "/refunds", "refund")
        .with_rate_limits(&[PAYMENTS.with_cost(4)]);
    const CALLS: RateLimitSpec = RateLimitSpec::new(100, MINUTE)
        .with_algorithm(Algorithm::SlidingWindow)
        .with_name("calls");
    const CALL: EndpointSpec =
        EndpointSpec::new(Method::Get, "/calls", "call").with_rate_limits(&[CALLS]);
    const FEED: EndpointSpec =
        EndpointSpec::new(Method::Get, "/feed", "feed").with_rate_limits(&[RateLimitSpec::new(
            100, MINUTE,
        )
        .with_prefetch(10)
        .with_name("feed")]);
    const BARE: EndpointSpec = EndpointSpec::new(Method::Get, "/", "bare")
        .with_rate_limits(&[RateLimitSpec::new(1, MINUTE)]);

    fn parse(text: &str) -> Result<Overrides, StartErrors> {
        Overrides::parse(text, &[&PAY, &REFUND, &CALL, &FEED, &BARE])
    }

    fn applied(text: &str, declared: &RateLimitSpec) -> RateLimitSpec {
        parse(text).expect(text).apply(declared)
    }

    #[test]
    fn without_a_declared_burst_the_burst_follows_the_rate() {
        let limit = applied("payments=1000/h", &PAYMENTS);
        assert_eq!(
            limit,
            RateLimitSpec::new(1_000, Duration::from_hours(1)).with_name("payments")
        );
    }

    #[test]
    fn a_declared_burst_stays_unless_it_is_overridden() {
        assert_eq!(applied("login=50/min", &LOGIN).burst, 20);
        assert_eq!(applied("login=50/min:burst=70", &LOGIN).burst, 70);
        assert_eq!(applied("payments=1000/min:burst=50", &PAYMENTS).burst, 50);
    }

    #[test]
    fn an_override_keeps_the_cost_of_each_endpoint() {
        let text = "payments=1000/min, login=5/h";
        assert_eq!(applied(text, &REFUND.rate_limits[0]).cost, Cost::Fixed(4));
        assert_eq!(applied(text, &PAYMENTS).permits, 1_000);
        assert_eq!(applied(text, &LOGIN).period, Duration::from_hours(1));
        assert_eq!(applied(text, &BARE.rate_limits[0]), BARE.rate_limits[0]);
    }

    #[test]
    fn b08_the_cost_of_a_function_is_not_checked_at_start() {
        const COST_OF_FUNCTION: EndpointSpec =
            EndpointSpec::new(Method::Get, "/computed", "computed")
                .with_rate_limits(&[PAYMENTS.with_cost_of(|_| 1_000)]);
        let check = |text, specs: &[&EndpointSpec]| Overrides::parse(text, specs).map(|_| ());
        assert!(check("payments=3/min", &[&COST_OF_FUNCTION, &PAY]).is_ok());
        let errors = check("payments=3/min", &[&COST_OF_FUNCTION, &REFUND])
            .expect_err("`refund` costs 4")
            .to_string();
        assert!(
            errors.contains("`refund` (POST /refunds) costs 4"),
            "{errors}"
        );
    }

    #[test]
    fn b17_a_shadow_limit_with_an_override_stays_a_shadow_limit() {
        assert!(applied("payments=1000/h", &PAYMENTS.shadow()).shadow);
        assert!(!applied("payments=1000/h", &PAYMENTS).shadow);
    }

    #[test]
    fn the_error_of_a_wrong_entry_lists_what_is_accepted() {
        for (text, why) in [
            (
                "payments",
                "expected name=rate, such as payments=1000/min or payments=1000/min:burst=50",
            ),
            (
                "payments=10",
                "`10` is not a rate: expected a number, a slash and s, min, h or day, such as 100/min",
            ),
            (
                "payments=",
                "`` is not a rate: expected a number, a slash and s, min, h or day, such as 100/min",
            ),
            (
                "payments=9/week",
                "`week` is not a period of a rate: expected a number, a slash and s, min, h or day, such as 100/min",
            ),
            (
                "payments=9/min:cost=1",
                "`:cost=1` is not an option of a limit: expected a burst of at least 1, such as :burst=50",
            ),
            (
                "payments=9/min:burst=0",
                "`:burst=0` is not an option of a limit: expected a burst of at least 1, such as :burst=50",
            ),
            (
                "payments=3/min",
                "its bucket holds 3, and `refund` (POST /refunds) costs 4: expected a burst of at least 4, such as \
                 :burst=4",
            ),
            (
                "payments=1/day:burst=99999999",
                "its bucket does not refill within a hundred years: expected a higher rate or a smaller burst",
            ),
            (
                "calls=10001/h",
                "a sliding window logs at most 10000 tokens, and not 10001: expected a rate of at most 10000",
            ),
            (
                "calls=5/h:burst=9",
                "the limit counts by windows, which have no burst of their own: remove :burst",
            ),
            (
                "feed=20/min",
                "its bucket holds 20, and `prefetch = 10` needs room for two batches and a request: expected a burst of at \
                 least 21, such as :burst=21",
            ),
            (
                "logins=5/min",
                "no endpoint names a limit `logins`: expected one of `calls`, `feed`, `login`, `payments`",
            ),
        ] {
            let errors = parse(text).expect_err(text).to_string();
            assert_eq!(
                errors,
                format!("APLOMB_LIMITS=\"{text}\": entry `{text}`: {why}")
            );
        }
    }

    #[test]
    fn all_wrong_entries_are_reported_at_once() {
        let errors = parse("payments=x,login=5/min,login=6/min,,nobody=1/s")
            .expect_err("wrong")
            .to_string();
        let entries: Vec<&str> = errors
            .lines()
            .filter_map(|line| line.split(": entry ").nth(1))
            .collect();
        assert_eq!(entries.len(), 4, "{errors}");
        for (entry, start) in entries.iter().zip([
            "`payments=x`",
            "`login=6/min`: the limit `login` is set twice",
            "``",
            "`nobody=1/s`",
        ]) {
            assert!(entry.starts_with(start), "{entry}");
        }
    }

    #[test]
    fn without_named_limits_every_entry_is_refused() {
        let errors = Overrides::parse("payments=1/s", &[&BARE])
            .expect_err("no name")
            .to_string();
        assert!(
            errors.ends_with("no endpoint names a limit: add a `name` to its `rate_limit(…)`"),
            "{errors}"
        );
    }
}
