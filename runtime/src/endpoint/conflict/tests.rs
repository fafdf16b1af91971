mod router;

use super::*;
use crate::policies::deprecation::DeprecationSpec;
use crate::policies::version::VersionSpec;
use crate::spec::{EndpointId, Method, SourceLocation};

fn checks(specs: &[EndpointSpec]) -> Vec<RouteCheck> {
    let mut checks = vec![RouteCheck::Mountable; specs.len()];
    let mut order = vec![Ranked { key: 0, index: 0 }; specs.len()];
    compare_all(
        specs,
        &mut vec![Shape::NONE; specs.len()],
        &mut order,
        &mut checks,
    );
    checks
}

#[expect(clippy::unnecessary_wraps, reason = "the same type as other ranges")]
fn single(version: u32) -> Option<(u32, Option<u32>)> {
    Some((version, Some(version)))
}

fn spec(method: Method, path: &'static str, version: Option<(u32, Option<u32>)>) -> EndpointSpec {
    let spec = EndpointSpec::new(method, path, "f");
    match version {
        Some((first, last)) => spec.with_version(VersionSpec::new(first, last)),
        None => spec,
    }
}

#[test]
fn the_later_of_two_conflicting_endpoints_is_marked() {
    let specs = [
        spec(Method::Get, "/orders/{id}", single(1)),
        spec(Method::Get, "/orders/new", single(1)),
        spec(Method::Get, "/orders/{name}", single(1)),
        spec(Method::Put, "/orders/{name}", single(1)),
        spec(Method::Put, "/orders/{id}", single(2)),
        spec(Method::Get, "/orders/{id}", None),
    ];
    assert_eq!(
        checks(&specs),
        [
            RouteCheck::Mountable,
            RouteCheck::Mountable,
            RouteCheck::SameRequests { earlier: 0 },
            RouteCheck::ParameterNames { earlier: 0 },
            RouteCheck::Mountable,
            RouteCheck::Mountable,
        ]
    );
}

#[test]
fn ranges_with_a_common_version_overlap() {
    for (one, other, overlap) in [
        ((1, Some(2)), (2, Some(3)), true),
        ((1, Some(1)), (2, Some(3)), false),
        ((1, None), (7, Some(7)), true),
        ((3, None), (1, Some(2)), false),
        ((1, None), (2, None), true),
    ] {
        let specs = [
            spec(Method::Get, "/a", Some(one)),
            spec(Method::Get, "/a", Some(other)),
        ];
        assert_eq!(
            checks(&specs)[1] != RouteCheck::Mountable,
            overlap,
            "{one:?} {other:?}"
        );
    }
}

#[test]
fn a_version_gap_is_marked_once() {
    let checks_of_versions = |versions: &[(u32, Option<u32>)]| {
        let paths = ["/a", "/b", "/c", "/d"];
        let specs: Vec<_> = versions
            .iter()
            .zip(paths)
            .map(|(version, path)| spec(Method::Get, path, Some(*version)))
            .collect();
        checks(&specs)
    };
    assert_eq!(
        checks_of_versions(&[(4, Some(4)), (1, Some(1)), (2, None)]),
        [RouteCheck::Mountable; 3],
        "an open range serves all later versions"
    );
    assert_eq!(
        checks_of_versions(&[(6, Some(6)), (4, Some(4)), (1, Some(2)), (4, None)]),
        [
            RouteCheck::Mountable,
            RouteCheck::VersionGap { version: 3 },
            RouteCheck::Mountable,
            RouteCheck::Mountable
        ],
    );
    assert_eq!(
        checks_of_versions(&[(20_260_101, Some(20_260_101)), (20_260_102, None)]),
        [RouteCheck::Mountable; 2]
    );
}

#[test]
fn paths_with_equal_hashes_are_compared_as_text() {
    let specs = [spec(Method::Get, "/a", None), spec(Method::Get, "/b", None)];
    let (mut shapes, mut checks) = ([Shape::NONE; 2], [RouteCheck::Mountable; 2]);
    insert(&mut shapes, 0, 7);
    insert(&mut shapes, 1, 7);
    compare_with_earlier(&specs, &shapes, 1, &mut checks);
    assert_eq!(checks, [RouteCheck::Mountable; 2]);
}

fn serves(spec: &EndpointSpec, version: u32) -> bool {
    spec.version.is_some_and(|range| {
        range.first() <= version && range.last().is_none_or(|last| version <= last)
    })
}

/// If `has_obviously_no_gap` returns `true`, the search for gaps is skipped. It must therefore
/// never return `true` for a list with a gap.
#[test]
fn every_version_gap_is_found() {
    let ranges: Vec<(u32, Option<u32>)> = (1..5)
        .flat_map(|first| [Some(first), Some(first + 1), None].map(|last| (first, last)))
        .collect();
    for index in 0..ranges.len().pow(3) {
        let (one, two, three) = (index % 12, index / 12 % 12, index / 144);
        let paths = ["/a", "/b", "/c"].into_iter().zip([one, two, three]);
        let specs: Vec<_> = paths
            .map(|(path, range)| spec(Method::Get, path, Some(ranges[range])))
            .collect();
        let firsts: Vec<u32> = specs
            .iter()
            .filter_map(|spec| Some(spec.version?.first()))
            .collect();
        let (lowest, highest) = (firsts.iter().min(), firsts.iter().max());
        let all = *lowest.expect("three")..=*highest.expect("three");
        let has_gap = !all
            .clone()
            .all(|version| specs.iter().any(|spec| serves(spec, version)));
        let found = checks(&specs)
            .iter()
            .any(|check| matches!(check, RouteCheck::VersionGap { .. }));
        assert_eq!(found, has_gap, "{specs:?}");
    }
}

#[test]
fn an_endpoint_that_did_not_compile_has_no_conflicts() {
    let specs = [
        spec(Method::Get, "", None),
        spec(Method::Get, "", None),
        spec(Method::Get, "/a", single(1)),
        spec(Method::Get, "/a", single(3)),
    ];
    assert_eq!(
        checks(&specs),
        [RouteCheck::Mountable; 4],
        "an endpoint that did not compile may serve version 2"
    );
}

#[test]
#[should_panic(
    expected = "`g` (GET /v2/orders/{name}) answers the same requests as `f` (GET /v2/orders/{id}), \
                           declared at src/orders.rs:6"
)]
fn the_message_names_both_endpoints() {
    const SPECS: [EndpointSpec; 2] = [
        EndpointSpec::new(Method::Get, "/orders/{id}", "f")
            .with_version(VersionSpec::new(1, Some(2)))
            .with_location("orders", "src/orders.rs", 6),
        EndpointSpec::new(Method::Get, "/orders/{name}", "g")
            .with_version(VersionSpec::new(2, None)),
    ];
    const CHECKS: [RouteCheck; 2] = check_routes(&SPECS);
    assert_mountable(&SPECS, &CHECKS, 0);
    assert_mountable(&SPECS, &CHECKS, 1);
}

/// Compares the routes of a very large service in a constant. The test compiles only if the
/// evaluation takes few steps, because the lint `long_running_const_eval` is denied by default.
#[test]
fn thousands_of_routes_are_compared_in_a_constant() {
    const COUNT: usize = 3_000;
    static PATHS: [[u8; 29]; COUNT] = paths();
    static SPECS: [EndpointSpec; COUNT] = {
        let mut specs = [EndpointSpec::new(Method::Get, "", "f"); COUNT];
        let mut index = 0;
        while index < COUNT {
            if let Ok(path) = str::from_utf8(&PATHS[index]) {
                specs[index] = EndpointSpec::new(Method::Get, path, "f")
                    .with_version(VersionSpec::new(1, None));
            }
            index += 1;
        }
        specs
    };
    static CHECKS: [RouteCheck; COUNT] = check_routes(&SPECS);
    assert_eq!(SPECS[2_999].path, "/organisations/{id}/units2999");
    assert!(CHECKS.iter().all(|check| *check == RouteCheck::Mountable));
}

/// Compares the routes of a service in which every second endpoint has a successor, in a constant.
#[test]
fn e02_thousands_of_successors_are_compared_in_a_constant() {
    const COUNT: usize = 3_000;
    static PATHS: [[u8; 29]; COUNT] = paths();
    static DEPRECATIONS: [DeprecationSpec; COUNT] = {
        let mut deprecations = [DeprecationSpec::new(); COUNT];
        let mut index = 0;
        while index < COUNT {
            deprecations[index] =
                DeprecationSpec::new().with_successor(endpoint_id_at_line(index + 1));
            index += 2;
        }
        deprecations
    };
    static SPECS: [EndpointSpec; COUNT] = {
        let mut specs = [EndpointSpec::new(Method::Get, "", "f"); COUNT];
        let mut index = 0;
        while index < COUNT {
            if let Ok(path) = str::from_utf8(&PATHS[index / 2]) {
                let version = if index.is_multiple_of(2) { 1 } else { 2 };
                specs[index] = EndpointSpec::new(Method::Get, path, "f")
                    .with_id(endpoint_id_at_line(index))
                    .with_version(VersionSpec::new(version, Some(version)))
                    .with_deprecation(&DEPRECATIONS[index]);
            }
            index += 1;
        }
        specs
    };
    static CHECKS: [RouteCheck; COUNT] = check_routes(&SPECS);
    assert_eq!(
        SPECS[2_998]
            .deprecation
            .and_then(|deprecation| deprecation.successor),
        Some(SPECS[2_999].id())
    );
    assert!(CHECKS.iter().all(|check| *check == RouteCheck::Mountable));
}

/// Returns the id of an endpoint that is declared in this line.
#[expect(clippy::cast_possible_truncation, reason = "the lines are below 4,000")]
const fn endpoint_id_at_line(line: usize) -> EndpointId {
    EndpointId::new(
        "f",
        SourceLocation::new("units", "src/units.rs", line as u32),
    )
}

/// Returns paths that differ only in the number at their end.
const fn paths<const COUNT: usize>() -> [[u8; 29]; COUNT] {
    let mut paths = [*b"/organisations/{id}/units0000"; COUNT];
    let mut index = 0;
    while index < COUNT {
        let (mut rest, mut position) = (index, 28);
        while rest > 0 {
            paths[index][position] = b"0123456789"[rest % 10];
            rest /= 10;
            position -= 1;
        }
        index += 1;
    }
    paths
}
