//! `APLOMB_LIMITS`: what operators set in place of the rates of named limits.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::quota::Quota;
use super::rate::{Rate, digits};
use super::spec::{Algorithm, RateLimitSpec};
use crate::settings;
use crate::spec::EndpointSpec;
use crate::start::{StartError, StartErrors};

/// The limits that were set, by their names. Each is declared, and each endpoint that declares it
/// can pay its cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(HashMap<String, Override>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Override {
    rate: Rate,
    burst: Option<u64>,
}

const VARIABLE: &str = "APLOMB_LIMITS";

const FORM: &str = "expected name=rate, such as payments=1000/min or payments=1000/min:burst=50";

impl Overrides {
    /// What the environment sets for the limits of these endpoints.
    pub(crate) fn from_env<'a>(
        specs: impl Iterator<Item = &'a EndpointSpec>,
    ) -> Result<Self, StartErrors> {
        match settings::variable(VARIABLE)? {
            None => Ok(Self::default()),
            Some(text) => Self::parse(&text, &specs.collect::<Vec<_>>()),
        }
    }

    /// Reads `payments=1000/min,login=5/min:burst=20`. Each wrong entry is one error.
    pub(crate) fn parse(text: &str, specs: &[&EndpointSpec]) -> Result<Self, StartErrors> {
        let (mut overrides, mut errors, mut seen) =
            (HashMap::new(), StartErrors::new(), HashSet::new());
        for entry in text.split(',').map(str::trim) {
            match read(entry, specs, &mut seen) {
                Ok((name, set)) => drop(overrides.insert(name.to_owned(), set)),
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

    /// The limit in force where this one is declared.
    pub(crate) fn apply(&self, declared: &RateLimitSpec) -> RateLimitSpec {
        let set = declared.name.and_then(|name| self.0.get(name));
        set.map_or(*declared, |set| set.apply(declared))
    }
}

impl Override {
    /// Reads `1000/min` or `1000/min:burst=50`.
    fn parse(text: &str) -> Result<Self, String> {
        let Some((rate, option)) = text.split_once(':') else {
            return Ok(Self {
                rate: Rate::parse(text)?,
                burst: None,
            });
        };
        let wrong = || {
            format!(
                "`:{option}` is no option of a limit; expected a burst of at least 1, such as :burst=50"
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

    /// A declared burst that is not just the rate's number stays, unless another one is set.
    fn apply(self, declared: &RateLimitSpec) -> RateLimitSpec {
        let own = (!declared.algorithm.is_window() && declared.burst != declared.permits)
            .then_some(declared.burst);
        let Rate { permits, period } = self.rate;
        RateLimitSpec {
            permits,
            period,
            burst: self.burst.or(own).unwrap_or(permits),
            ..*declared
        }
    }

    /// Whether a bucket can keep the limit, and admit a request of this endpoint.
    fn check(self, declared: &RateLimitSpec, spec: &EndpointSpec) -> Result<(), String> {
        let limit = self.apply(declared);
        if limit.algorithm.is_window() && self.burst.is_some() {
            return Err(String::from(
                "it counts by windows, which have no burst of their own; remove :burst",
            ));
        }
        // What a function says is not known yet, and is at most the burst.
        if let Some(cost) = limit.cost.known().filter(|cost| *cost > limit.burst) {
            return Err(too_small(limit.burst, cost, spec));
        }
        if limit.prefetch > 0 && Quota::of(&limit).is_none() {
            return Err(too_small_for_prefetch(&limit));
        }
        if limit.algorithm == Algorithm::SlidingWindow && limit.permits > Quota::MAX_LOG {
            return Err(too_long(&limit));
        }
        match Quota::of(&limit) {
            Some(_) => Ok(()),
            None => Err(String::from(
                "its bucket does not refill within a hundred years; expected a higher rate or a smaller burst",
            )),
        }
    }
}

/// Reads `payments=1000/min`; `seen` are the names read before.
fn read<'a>(
    entry: &'a str,
    specs: &[&EndpointSpec],
    seen: &mut HashSet<&'a str>,
) -> Result<(&'a str, Override), String> {
    let (name, value) = entry.split_once('=').ok_or(FORM)?;
    if !seen.insert(name) {
        return Err(format!(
            "the limit `{name}` is set twice; expected one entry for each name"
        ));
    }
    let named = declared(specs).filter(|(limit, _)| limit.name == Some(name));
    let (dearest, spec) = named
        .max_by_key(|(limit, _)| limit.cost.known())
        .ok_or_else(|| unknown(name, specs))?;
    let set = Override::parse(value)?;
    set.check(dearest, spec).map(|()| (name, set))
}

fn declared<'a>(
    specs: &[&'a EndpointSpec],
) -> impl Iterator<Item = (&'a RateLimitSpec, &'a EndpointSpec)> {
    specs
        .iter()
        .flat_map(|spec| spec.rate_limits.iter().map(move |limit| (limit, *spec)))
}

fn unknown(name: &str, specs: &[&EndpointSpec]) -> String {
    let names: BTreeSet<&str> = declared(specs)
        .filter_map(|(limit, _)| limit.name)
        .collect();
    if names.is_empty() {
        return String::from("no endpoint names a limit; name one in its `rate_limit(…)`");
    }
    let names = names.into_iter().collect::<Vec<_>>().join("`, `");
    format!("no endpoint names a limit `{name}`; expected one of `{names}`")
}

fn too_small_for_prefetch(limit: &RateLimitSpec) -> String {
    let (burst, batch) = (limit.burst, limit.prefetch);
    let least = batch
        .saturating_mul(2)
        .saturating_add(limit.cost.known().unwrap_or(1));
    format!(
        "its bucket holds {burst}, and instances take batches of {batch} ahead; expected a burst of at least {least}, \
         such as :burst={least}"
    )
}

fn too_long(limit: &RateLimitSpec) -> String {
    let (permits, most) = (limit.permits, Quota::MAX_LOG);
    format!("it logs every request, and not {permits} of them; expected a rate of at most {most}")
}

fn too_small(burst: u64, cost: u64, spec: &EndpointSpec) -> String {
    format!(
        "its bucket holds {burst} and `{}` ({} {}) costs {cost}; expected a burst of at least {cost}, such as \
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
    fn a_burst_that_was_not_declared_follows_the_rate() {
        let limit = applied("payments=1000/h", &PAYMENTS);
        assert_eq!(
            limit,
            RateLimitSpec::new(1_000, Duration::from_hours(1)).with_name("payments")
        );
    }

    #[test]
    fn a_burst_that_was_declared_stays_unless_it_is_set() {
        assert_eq!(applied("login=50/min", &LOGIN).burst, 20);
        assert_eq!(applied("login=50/min:burst=70", &LOGIN).burst, 70);
        assert_eq!(applied("payments=1000/min:burst=50", &PAYMENTS).burst, 50);
    }

    #[test]
    fn several_limits_are_set_and_each_endpoint_keeps_its_cost() {
        let text = "payments=1000/min, login=5/h";
        assert_eq!(applied(text, &REFUND.rate_limits[0]).cost, Cost::Fixed(4));
        assert_eq!(applied(text, &PAYMENTS).permits, 1_000);
        assert_eq!(applied(text, &LOGIN).period, Duration::from_hours(1));
        assert_eq!(applied(text, &BARE.rate_limits[0]), BARE.rate_limits[0]);
    }

    #[test]
    fn b08_nothing_is_known_at_start_of_a_cost_that_a_function_says() {
        const WEIGHED: EndpointSpec = EndpointSpec::new(Method::Get, "/weighed", "weighed")
            .with_rate_limits(&[PAYMENTS.with_cost_of(|_| 1_000)]);
        let set = |text, specs: &[&EndpointSpec]| Overrides::parse(text, specs).map(|_| ());
        assert!(set("payments=3/min", &[&WEIGHED, &PAY]).is_ok());
        let errors = set("payments=3/min", &[&WEIGHED, &REFUND])
            .expect_err("the other costs 4")
            .to_string();
        assert!(
            errors.contains("`refund` (POST /refunds) costs 4"),
            "{errors}"
        );
    }

    #[test]
    fn b17_a_limit_whose_rate_is_set_stays_a_shadow() {
        assert!(applied("payments=1000/h", &PAYMENTS.shadow()).shadow);
        assert!(!applied("payments=1000/h", &PAYMENTS).shadow);
    }

    #[test]
    fn every_wrong_entry_says_what_is_accepted() {
        for (text, why) in [
            (
                "payments",
                "expected name=rate, such as payments=1000/min or payments=1000/min:burst=50",
            ),
            (
                "payments=10",
                "`10` is no rate; expected a number, a slash and s, min, h or day, such as 100/min",
            ),
            (
                "payments=",
                "`` is no rate; expected a number, a slash and s, min, h or day, such as 100/min",
            ),
            (
                "payments=9/week",
                "`week` is no period of a rate; expected a number, a slash and s, min, h or day, such as 100/min",
            ),
            (
                "payments=9/min:cost=1",
                "`:cost=1` is no option of a limit; expected a burst of at least 1, such as :burst=50",
            ),
            (
                "payments=9/min:burst=0",
                "`:burst=0` is no option of a limit; expected a burst of at least 1, such as :burst=50",
            ),
            (
                "payments=3/min",
                "its bucket holds 3 and `refund` (POST /refunds) costs 4; expected a burst of at least 4, such as \
                 :burst=4",
            ),
            (
                "payments=1/day:burst=99999999",
                "its bucket does not refill within a hundred years; expected a higher rate or a smaller burst",
            ),
            (
                "calls=10001/h",
                "it logs every request, and not 10001 of them; expected a rate of at most 10000",
            ),
            (
                "calls=5/h:burst=9",
                "it counts by windows, which have no burst of their own; remove :burst",
            ),
            (
                "feed=20/min",
                "its bucket holds 20, and instances take batches of 10 ahead; expected a burst of at least 21, such as \
                 :burst=21",
            ),
            (
                "logins=5/min",
                "no endpoint names a limit `logins`; expected one of `calls`, `feed`, `login`, `payments`",
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
    fn all_wrong_entries_are_said_at_once() {
        let errors = parse("payments=x,login=5/min,login=6/min,,nobody=1/s")
            .expect_err("wrong")
            .to_string();
        let said: Vec<&str> = errors
            .lines()
            .filter_map(|line| line.split(": entry ").nth(1))
            .collect();
        assert_eq!(said.len(), 4, "{errors}");
        for (said, start) in said.iter().zip([
            "`payments=x`",
            "`login=6/min`: the limit `login` is set twice",
            "``",
            "`nobody=1/s`",
        ]) {
            assert!(said.starts_with(start), "{said}");
        }
    }

    #[test]
    fn without_named_limits_no_name_is_accepted() {
        let errors = Overrides::parse("payments=1/s", &[&BARE])
            .expect_err("no name")
            .to_string();
        assert!(
            errors.ends_with("no endpoint names a limit; name one in its `rate_limit(…)`"),
            "{errors}"
        );
    }
}
