//! Compares the limits and grammars of the macros with the limits and grammars of the runtime.
//!
//! The macros refuse at compile time what the runtime would refuse at start, so both crates need
//! the same limits and grammars. A proc-macro crate cannot export functions, so these tests include
//! the source files of the macros.

#[path = "../../macros/src/bounds.rs"]
mod bounds;
#[path = "../../macros/src/derive/api_error/category.rs"]
mod category;
#[path = "../../macros/src/derive/api_error/code.rs"]
mod code;
#[path = "../../macros/src/parse/date.rs"]
mod date;

use core::time::Duration;
use std::panic::catch_unwind;

use proptest::prelude::*;

use self::category::{CATEGORIES, Retryable};
use crate::__fuzz::units;
use crate::api::Api;
use crate::policies::deprecation::Date;
use crate::policies::idempotency::IdempotencySpec;
use crate::policies::paginate::{OffsetRequest, PageLimits};
use crate::policies::rate_limit::{Algorithm, Quota, Rate, RateLimitSpec};
use crate::policies::version;
use crate::problem::{Category, ProblemSpec, RESERVED_MEMBERS, registry};
use crate::settings;

#[test]
fn e02_both_crates_accept_the_same_dates() {
    for year in (0..=2_500).chain(9_900..=9_999) {
        for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            let attribute = date::Date::parse(&text).ok();
            let attribute =
                attribute.map(|date| (date.year, date.month, date.day, date.to_string()));
            let runtime = Date::new(year, month, day);
            let runtime =
                runtime.map(|date| (date.year(), date.month(), date.day(), date.to_string()));
            assert_eq!(attribute, runtime, "{text}");
        }
    }
}

#[test]
fn both_crates_have_the_same_limits() {
    assert_eq!(bounds::MAX_LOG, Quota::MAX_LOG);
    assert_eq!(bounds::MIN_TTL, Api::<()>::DEFAULT_LEASE);
    assert_eq!(bounds::MAX_TTL, IdempotencySpec::MAX_TTL);
    assert_eq!(bounds::MAX_STORED_BODY, IdempotencySpec::MAX_STORED_BODY);
    assert_eq!(
        PageLimits::new(bounds::DEFAULT_PAGE, bounds::MAX_PAGE),
        PageLimits::default()
    );
    assert_eq!(bounds::MAX_OFFSET, OffsetRequest::MAX_ITEM);
    assert_eq!(
        usize::try_from(bounds::MAX_VERSIONS),
        Ok(version::MAX_VERSIONS)
    );
}

#[test]
fn f03_both_crates_reserve_the_same_members() {
    assert_eq!(bounds::RESERVED_MEMBERS, RESERVED_MEMBERS);
}

#[test]
fn handlers_take_as_many_arguments_as_the_macros_allow() {
    let implemented = include_str!("endpoint/adapt.rs")
        .lines()
        .filter(|line| line.starts_with("args!("));
    assert_eq!(implemented.count(), bounds::MAX_ARGUMENTS);
}

#[test]
fn the_router_takes_as_many_parameters_as_the_macros_allow() {
    let inserts = |count: usize| {
        let path: Vec<String> = (0..count).map(|number| format!("/{{p{number}}}")).collect();
        catch_unwind(|| matchit::Router::new().insert(path.concat(), ()).is_ok()).unwrap_or(false)
    };
    assert!(inserts(bounds::MAX_PARAMETERS) && !inserts(bounds::MAX_PARAMETERS + 1));
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
];

proptest! {
    #[test]
    fn both_crates_read_the_same_rates(text in "([0-9]{1,9}|[0-9]{18,21}|)(/|//| / |)(s|sec|min|h|hour|day|m|d|S|week|)") {
        let attribute = units::rate(&text).ok().map(|rate| (rate.permits, rate.period));
        let environment = Rate::parse(&text).ok().map(|rate| (rate.permits, rate.period));
        prop_assert_eq!(attribute, environment);
        if let Some((permits, period)) = attribute {
            for algorithm in ALGORITHMS {
                let fits = algorithm != Algorithm::SlidingWindow || permits <= bounds::MAX_LOG;
                let quota = Quota::of(&RateLimitSpec::new(permits, period).with_algorithm(algorithm));
                prop_assert_eq!(quota.is_some(), fits, "{:?}", algorithm);
            }
        }
    }

    /// A duration of zero is allowed only in settings.
    #[test]
    fn both_crates_read_the_same_durations(text in "([0-9]{1,9}|[0-9]{15,21}|)(\\.5|-| |)(ms|s|min|m|h|d|sec|hour|D|)") {
        let setting = settings::parse_duration(&text).filter(|duration| !duration.is_zero());
        prop_assert_eq!(units::duration(&text).ok(), setting);
    }

    #[test]
    fn both_crates_read_sizes_in_the_same_grammar(text in "([0-9]{1,9}|[0-9]{15,21}|)(\\.5|-| |)(B|KB|MB|KiB|MiB|GB|GiB|kb|)") {
        prop_assert_eq!(units::size(&text).ok(), settings::parse_size(&text));
    }

    #[test]
    fn b08_both_crates_accept_the_same_costs_and_prefetches(burst in 1_u64..40, cost in 1_u64..40, ahead in 0_u64..30) {
        let spec = RateLimitSpec::new(5, Duration::from_secs(1)).with_burst(burst).with_cost(cost).with_prefetch(ahead);
        let fits = cost <= burst && (ahead == 0 || ahead <= bounds::max_prefetch(burst, cost));
        prop_assert_eq!(Quota::of(&spec).is_some(), fits);
    }
}

#[test]
fn both_crates_read_the_same_sizes() {
    assert_eq!(units::size("16MiB"), Ok(IdempotencySpec::MAX_STORED_BODY));
    assert_eq!(units::size("1MiB"), Ok(Api::<()>::DEFAULT_BODY_LIMIT));
    assert_eq!(
        units::size("1MiB"),
        Ok(IdempotencySpec::DEFAULT_MAX_STORED_BODY)
    );
}

#[test]
fn f03_both_crates_allow_the_same_statuses_in_a_category() {
    let variant = |category: Category| format!("{category:?}");
    for category in CATEGORIES {
        for status in category.statuses {
            assert_eq!(
                variant(Category::of_status(*status)),
                category.variant,
                "{} {status}",
                category.name
            );
        }
        let runtime = Category::of_status(category.statuses[0]);
        let expected = match category.retryable {
            Retryable::Never | Retryable::Declared => Some(false),
            Retryable::Depends => None,
            Retryable::Always => Some(true),
        };
        assert_eq!(
            ProblemSpec::new(runtime, "X", "X").retryable,
            expected,
            "{}",
            category.name
        );
        assert!(
            category::names()
                .any(|name| category::find(name).is_some_and(|found| found.name == category.name))
        );
    }
}

#[test]
fn f03_both_crates_have_the_same_titles_for_the_codes_of_the_framework() {
    for spec in registry::ALL {
        assert!(code::is_code(spec.code), "{}", spec.code);
        assert_eq!(code::screaming_snake(spec.code), spec.code);
        let derivable = CATEGORIES.iter().any(|category| {
            category.variant == format!("{:?}", spec.category)
                && category.statuses.contains(&spec.status)
        });
        if derivable {
            assert_eq!(code::title(spec.code), spec.title, "{}", spec.code);
        }
    }
}
