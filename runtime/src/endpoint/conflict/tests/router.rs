//! The rule is the router's own, in both directions: what is accepted it takes, and what it refuses is
//! refused. Random lists are compared with `matchit`, the table that axum looks paths up in, and with
//! axum's router itself, which merges methods.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use axum::Router;
use axum::routing::{MethodFilter, on};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::policies::version;

/// Few enough that lists collide often: literals that begin alike, one that looks like a version, and
/// names for the same place.
const SEGMENTS: [&str; 5] = ["a", "ab", "v1", "{id}", "{name}"];

/// Every path of up to three of these that the macro takes: no parameter twice, no version in front.
/// The shorter stand first.
static PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let longer = |path: &String| SEGMENTS.map(|last| format!("{path}/{last}"));
    let one = longer(&String::new()).to_vec();
    let two: Vec<String> = one.iter().flat_map(longer).collect();
    let three: Vec<String> = two.iter().flat_map(longer).collect();
    let all = [vec!["/".to_owned()], one, two, three].concat().into_iter();
    let taken = all.filter(|path| names_are_unique(path) && !path.starts_with("/v1"));
    taken.map(|path| &*path.leak()).collect()
});

fn names_are_unique(path: &str) -> bool {
    let mut names: Vec<_> = path
        .split('/')
        .filter(|segment| segment.starts_with('{'))
        .collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// Every method and path that they are mounted at.
fn mounted(specs: &[EndpointSpec]) -> Vec<(Method, String)> {
    let newest = version::newest(specs.iter());
    let of_one = |spec: &EndpointSpec| {
        version::routes(spec, newest)
            .into_iter()
            .map(|route| (spec.method, route.template))
            .collect::<Vec<_>>()
    };
    specs.iter().flat_map(of_one).collect()
}

/// Whether the table takes all paths, and no path has a method twice.
fn matchit_accepts(mounted: &[(Method, String)]) -> bool {
    let mut table = matchit::Router::new();
    let mut methods: HashMap<&str, Vec<Method>> = HashMap::new();
    mounted.iter().all(|(method, path)| {
        let known = methods.entry(path).or_default();
        let is_new = known.is_empty();
        let is_taken = known.contains(method);
        known.push(*method);
        !is_taken && (!is_new || table.insert(path.as_str(), ()).is_ok())
    })
}

fn axum_accepts(mounted: &[(Method, String)]) -> bool {
    let build = || {
        mounted
            .iter()
            .fold(Router::<()>::new(), |router, (method, path)| {
                mount(router, *method, path)
            })
    };
    catch_unwind(AssertUnwindSafe(build)).is_ok()
}

fn mount(router: Router, method: Method, path: &str) -> Router {
    let filter = match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    };
    router.route(path, on(filter, async || ()))
}

/// One number for all of it: a hundred thousand lists are drawn.
fn any_list() -> impl Strategy<Value = Vec<EndpointSpec>> {
    prop::collection::vec(any::<u32>(), 1..13)
        .prop_map(|numbers| numbers.into_iter().map(spec_of).collect())
}

/// Mostly of a short path, so that many meet.
fn spec_of(number: u32) -> EndpointSpec {
    let mut rest = number as usize;
    let mut below = |count: usize| {
        let drawn = rest % count;
        rest /= count;
        drawn
    };
    let method = [Method::Get, Method::Post][below(2)];
    let version = [
        None,
        None,
        None,
        Some((1, None)),
        Some((1, Some(1))),
        Some((1, Some(2))),
        Some((2, Some(2))),
    ][below(7)];
    let paths = if below(5) == 0 {
        PATHS.as_slice()
    } else {
        &PATHS[..23]
    };
    spec(method, paths[below(paths.len())], version)
}

fn refuses(specs: &[EndpointSpec]) -> bool {
    let conflict = |verdict: &RouteCheck| {
        matches!(
            verdict,
            RouteCheck::SameRequests { .. } | RouteCheck::OtherNames { .. }
        )
    };
    judged(specs).iter().any(conflict)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if is_long() { 200_000 } else { 20_000 }))]

    #[test]
    fn the_rule_is_that_of_the_routers_table(specs in any_list()) {
        prop_assert_eq!(!refuses(&specs), matchit_accepts(&mounted(&specs)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_rule_is_the_routers_own(specs in any_list()) {
        prop_assert_eq!(!refuses(&specs), axum_accepts(&mounted(&specs)));
    }
}

/// Whether the tests run as `./test.sh --faults` lets them.
fn is_long() -> bool {
    std::env::var_os("FAULTS").is_some()
}

/// Lists that are refused and lists that are taken are both common, or the comparison says little.
#[test]
fn lists_of_both_kinds_are_drawn() {
    let mut runner = TestRunner::deterministic();
    let drawn: Vec<bool> = (0..2_000)
        .map(|_| refuses(&any_list().new_tree(&mut runner).expect("a list").current()))
        .collect();
    let refused = drawn.iter().filter(|refused| **refused).count();
    assert!(
        (300..1_700).contains(&refused),
        "{refused} of 2,000 are refused"
    );
}
