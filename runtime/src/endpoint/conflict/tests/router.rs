//! Property tests: the check accepts a list if and only if the router accepts it.
//!
//! Random lists are compared with `matchit`, the table in which axum looks up paths, and with
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

/// The segments of paths: literals with a common prefix, a literal that looks like a version, and
/// two names of parameters. There are few segments, so that lists often have conflicts.
const SEGMENTS: [&str; 5] = ["a", "ab", "v1", "{id}", "{name}"];

/// Every path of up to three segments that the macro accepts: no parameter twice, no version at the
/// start. Shorter paths come first.
static PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let longer = |path: &String| SEGMENTS.map(|last| format!("{path}/{last}"));
    let one = longer(&String::new()).to_vec();
    let two: Vec<String> = one.iter().flat_map(longer).collect();
    let three: Vec<String> = two.iter().flat_map(longer).collect();
    let all = [vec!["/".to_owned()], one, two, three].concat().into_iter();
    let accepted = all.filter(|path| names_are_unique(path) && !path.starts_with("/v1"));
    accepted.map(|path| &*path.leak()).collect()
});

fn names_are_unique(path: &str) -> bool {
    let mut names: Vec<_> = path
        .split('/')
        .filter(|segment| segment.starts_with('{'))
        .collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// Returns the methods and paths at which the endpoints are mounted.
fn mounted(specs: &[EndpointSpec]) -> Vec<(Method, String)> {
    let newest = version::newest(specs.iter());
    let routes = |spec: &EndpointSpec| {
        version::routes(spec, newest)
            .into_iter()
            .map(|route| (spec.method, route.template))
            .collect::<Vec<_>>()
    };
    specs.iter().flat_map(routes).collect()
}

/// Returns `true` if the table accepts all paths, and no path has a method twice.
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

/// Generates a random list. Each endpoint is generated from a single number, because this is fast,
/// and up to 200,000 lists are generated.
fn any_list() -> impl Strategy<Value = Vec<EndpointSpec>> {
    prop::collection::vec(any::<u32>(), 1..13)
        .prop_map(|numbers| numbers.into_iter().map(spec_of).collect())
}

/// Returns the endpoint for a random number. Four of five endpoints have a short path, so that many
/// of them have conflicts.
fn spec_of(number: u32) -> EndpointSpec {
    let mut rest = number as usize;
    let mut below = |count: usize| {
        let generated = rest % count;
        rest /= count;
        generated
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

fn has_conflict(specs: &[EndpointSpec]) -> bool {
    let is_conflict = |check: &RouteCheck| {
        matches!(
            check,
            RouteCheck::SameRequests { .. } | RouteCheck::ParameterNames { .. }
        )
    };
    checks(specs).iter().any(is_conflict)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if is_long() { 200_000 } else { 20_000 }))]

    #[test]
    fn the_check_agrees_with_the_routers_table(specs in any_list()) {
        prop_assert_eq!(!has_conflict(&specs), matchit_accepts(&mounted(&specs)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_check_agrees_with_the_router(specs in any_list()) {
        prop_assert_eq!(!has_conflict(&specs), axum_accepts(&mounted(&specs)));
    }
}

/// Returns `true` in the long runs of `./test.sh --faults`.
fn is_long() -> bool {
    std::env::var_os("FAULTS").is_some()
}

/// Checks that lists with conflicts and lists without conflicts are both common. Otherwise the
/// comparison would prove little.
#[test]
fn lists_with_and_without_conflicts_are_generated() {
    let mut runner = TestRunner::deterministic();
    let generated: Vec<bool> = (0..2_000)
        .map(|_| has_conflict(&any_list().new_tree(&mut runner).expect("a list").current()))
        .collect();
    let conflicts = generated.iter().filter(|conflict| **conflict).count();
    assert!(
        (300..1_700).contains(&conflicts),
        "{conflicts} of 2,000 have a conflict"
    );
}
