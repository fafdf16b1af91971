mod router;

use super::*;
use crate::policies::deprecation::DeprecationSpec;
use crate::policies::version::VersionSpec;
use crate::spec::{EndpointId, Method, SourceLocation};

fn judged(specs: &[EndpointSpec]) -> Vec<RouteCheck> {
    let mut checks = vec![RouteCheck::Mountable; specs.len()];
    let mut order = vec![Ranked { key: 0, index: 0 }; specs.len()];
    check_route(
        specs,
        &mut vec![Shape::NONE; specs.len()],
        &mut order,
        &mut checks,
    );
    checks
}

#[expect(clippy::unnecessary_wraps, reason = "reads as the versions do")]
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
fn the_later_of_two_is_refused() {
    let specs = [
        spec(Method::Get, "/orders/{id}", single(1)),
        spec(Method::Get, "/orders/new", single(1)),
        spec(Method::Get, "/orders/{name}", single(1)),
        spec(Method::Put, "/orders/{name}", single(1)),
        spec(Method::Put, "/orders/{id}", single(2)),
        spec(Method::Get, "/orders/{id}", None),
    ];
    assert_eq!(
        judged(&specs),
        [
            RouteCheck::Mountable,
            RouteCheck::Mountable,
            RouteCheck::SameRequests { earlier: 0 },
            RouteCheck::OtherNames { earlier: 0 },
            RouteCheck::Mountable,
            RouteCheck::Mountable,
        ]
    );
}

#[test]
fn ranges_overlap_where_a_version_is_common() {
    for (one, other, meet) in [
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
            judged(&specs)[1] != RouteCheck::Mountable,
            meet,
            "{one:?} {other:?}"
        );
    }
}

#[test]
fn a_version_that_nobody_serves_is_found_once() {
    let hole = |versions: &[(u32, Option<u32>)]| {
        let paths = ["/a", "/b", "/c", "/d"];
        let specs: Vec<_> = versions
            .iter()
            .zip(paths)
            .map(|(version, path)| spec(Method::Get, path, Some(*version)))
            .collect();
        judged(&specs)
    };
    assert_eq!(
        hole(&[(4, Some(4)), (1, Some(1)), (2, None)]),
        [RouteCheck::Mountable; 3],
        "an open range serves all that follow"
    );
    assert_eq!(
        hole(&[(6, Some(6)), (4, Some(4)), (1, Some(2)), (4, None)]),
        [
            RouteCheck::Mountable,
            RouteCheck::Hole { version: 3 },
            RouteCheck::Mountable,
            RouteCheck::Mountable
        ],
    );
    assert_eq!(
        hole(&[(20_260_101, Some(20_260_101)), (20_260_102, None)]),
        [RouteCheck::Mountable; 2]
    );
}

#[test]
fn equal_hashes_are_confirmed_by_their_text() {
    let specs = [spec(Method::Get, "/a", None), spec(Method::Get, "/b", None)];
    let (mut shapes, mut checks) = ([Shape::NONE; 2], [RouteCheck::Mountable; 2]);
    enter(&mut shapes, 0, 7);
    enter(&mut shapes, 1, 7);
    compare_with_earlier(&specs, &shapes, 1, &mut checks);
    assert_eq!(checks, [RouteCheck::Mountable; 2]);
}

fn serves(spec: &EndpointSpec, version: u32) -> bool {
    spec.version.is_some_and(|range| {
        range.first() <= version && range.last().is_none_or(|last| version <= last)
    })
}

/// The short way round sorting never hides a hole.
#[test]
fn a_hole_is_found_wherever_there_is_one() {
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
        let has_hole = !all
            .clone()
            .all(|version| specs.iter().any(|spec| serves(spec, version)));
        let found = judged(&specs)
            .iter()
            .any(|verdict| matches!(verdict, RouteCheck::Hole { .. }));
        assert_eq!(found, has_hole, "{specs:?}");
    }
}

#[test]
fn an_endpoint_with_mistakes_meets_nobody() {
    let specs = [
        spec(Method::Get, "", None),
        spec(Method::Get, "", None),
        spec(Method::Get, "/a", single(1)),
        spec(Method::Get, "/a", single(3)),
    ];
    assert_eq!(
        judged(&specs),
        [RouteCheck::Mountable; 4],
        "one of them may serve version 2"
    );
}

#[test]
#[should_panic(
    expected = "`g` (GET /v2/orders/{name}) answers the same requests as `f` (GET /v2/orders/{id}), \
                           declared at src/orders.rs:6"
)]
fn the_message_names_both() {
    const SPECS: [EndpointSpec; 2] = [
        EndpointSpec::new(Method::Get, "/orders/{id}", "f")
            .with_version(VersionSpec::new(1, Some(2)))
            .with_location("orders", "src/orders.rs", 6),
        EndpointSpec::new(Method::Get, "/orders/{name}", "g")
            .with_version(VersionSpec::new(2, None)),
    ];
    const VERDICTS: [RouteCheck; 2] = check_routes(&SPECS);
    assert_mountable(&SPECS, &VERDICTS, 0);
    assert_mountable(&SPECS, &VERDICTS, 1);
}

/// As many routes as a large service has, compared in a constant: that it compiles shows that the
/// compiler does not find it long (`long_running_const_eval` is denied by default).
#[test]
fn thousands_are_compared_in_a_constant() {
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
    static VERDICTS: [RouteCheck; COUNT] = check_routes(&SPECS);
    assert_eq!(SPECS[2_999].path, "/organisations/{id}/units2999");
    assert!(
        VERDICTS
            .iter()
            .all(|verdict| *verdict == RouteCheck::Mountable)
    );
}

/// The same of a service of which every endpoint has a successor.
#[test]
fn e02_thousands_of_successors_are_compared_in_a_constant() {
    const COUNT: usize = 3_000;
    static PATHS: [[u8; 29]; COUNT] = paths();
    static DEPRECATIONS: [DeprecationSpec; COUNT] = {
        let mut deprecations = [DeprecationSpec::new(); COUNT];
        let mut index = 0;
        while index < COUNT {
            deprecations[index] = DeprecationSpec::new().with_successor(in_line(index + 1));
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
                    .with_id(in_line(index))
                    .with_version(VersionSpec::new(version, Some(version)))
                    .with_deprecation(&DEPRECATIONS[index]);
            }
            index += 1;
        }
        specs
    };
    static VERDICTS: [RouteCheck; COUNT] = check_routes(&SPECS);
    assert_eq!(
        SPECS[2_998]
            .deprecation
            .and_then(|deprecation| deprecation.successor),
        Some(SPECS[2_999].id())
    );
    assert!(
        VERDICTS
            .iter()
            .all(|verdict| *verdict == RouteCheck::Mountable)
    );
}

#[expect(clippy::cast_possible_truncation, reason = "thousands fit")]
const fn in_line(line: usize) -> EndpointId {
    EndpointId::new(
        "f",
        SourceLocation::new("units", "src/units.rs", line as u32),
    )
}

/// Paths that differ in a number at their end.
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
