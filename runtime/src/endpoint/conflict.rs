//! Routes that cannot stand side by side, found when compiling.
//!
//! Each endpoint of a list is compared with those before it that have the same path but for the
//! names of its parameters. They are found in a table by the shapes' hashes, so that thousands of
//! routes cost nothing visible; a hash only groups, and what it grouped is compared by its text.

mod describe;
mod shapes;
mod sort;
mod successors;

use shapes::{Shape, enter};
use sort::{Ranked, sort};

use crate::spec::EndpointSpec;

/// What came of comparing an endpoint with those before it in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteCheck {
    /// It can stand beside them.
    Mountable,
    /// It answers requests that an earlier one answers.
    SameRequests {
        /// The earlier one's index.
        earlier: usize,
    },
    /// Its path is an earlier one's with other names for the parameters, which a router refuses
    /// under any method.
    OtherNames {
        /// The earlier one's index.
        earlier: usize,
    },
    /// No endpoint serves a version that lies below its own and above others'.
    Hole {
        /// The version.
        version: u32,
    },
    /// Its successor is not in the list.
    SuccessorUnlisted,
    /// Its successor answers another method.
    SuccessorMethod {
        /// The successor's index.
        successor: usize,
    },
    /// Its successor's path has a parameter that its own has not, so that nothing leads there.
    SuccessorParameter {
        /// The successor's index.
        successor: usize,
    },
    /// Its successor ends no later than it does.
    SuccessorSunset {
        /// The successor's index.
        successor: usize,
    },
    /// It succeeds itself, over others; it is the first of them in the list.
    SuccessorCircle {
        /// The successor's index.
        successor: usize,
    },
}

/// Compares all endpoints of a list. `N` is the list's length.
pub const fn check_routes<const N: usize>(specs: &[EndpointSpec]) -> [RouteCheck; N] {
    let mut checks = [RouteCheck::Mountable; N];
    let mut order = [Ranked { key: 0, index: 0 }; N];
    check_route(specs, &mut [Shape::NONE; N], &mut order, &mut checks);
    checks
}

/// Fails the compilation where the endpoint at `index` cannot stand beside those before it.
#[track_caller]
pub const fn assert_mountable(specs: &[EndpointSpec], checks: &[RouteCheck], index: usize) {
    let message = match checks[index] {
        RouteCheck::Mountable => return,
        RouteCheck::SameRequests { earlier } => {
            describe::same_requests(&specs[index], &specs[earlier])
        }
        RouteCheck::OtherNames { earlier } => describe::other_names(&specs[index], &specs[earlier]),
        RouteCheck::Hole { version } => describe::hole(&specs[index], version),
        RouteCheck::SuccessorUnlisted => describe::successor_unlisted(&specs[index]),
        RouteCheck::SuccessorMethod { successor } => {
            describe::successor_method(&specs[index], &specs[successor])
        }
        RouteCheck::SuccessorParameter { successor } => {
            describe::successor_parameter(&specs[index], &specs[successor])
        }
        RouteCheck::SuccessorSunset { successor } => {
            describe::successor_sunset(&specs[index], &specs[successor])
        }
        RouteCheck::SuccessorCircle { successor } => {
            describe::successor_circle(&specs[index], &specs[successor])
        }
    };
    panic!("{}", message.as_str());
}

const fn check_route(
    specs: &[EndpointSpec],
    shapes: &mut [Shape],
    order: &mut [Ranked],
    checks: &mut [RouteCheck],
) {
    let mut index = 0;
    while index < shapes.len() {
        enter(shapes, index, shape_hash(&specs[index]));
        compare_with_earlier(specs, shapes, index, checks);
        index += 1;
    }
    if !is_without_hole(specs) {
        find_hole(specs, order, checks);
    }
    successors::check_successors(specs, order, checks);
}

/// Compares an endpoint with those before it whose shape has the same hash; of several that it
/// cannot stand beside, the first counts.
const fn compare_with_earlier(
    specs: &[EndpointSpec],
    shapes: &[Shape],
    later: usize,
    checks: &mut [RouteCheck],
) {
    let mut next = shapes[later].before;
    while let Some(earlier) = next {
        if shapes[earlier].hash == shapes[later].hash && overlap(&specs[earlier], &specs[later]) {
            let same_method = specs[earlier].method as u8 == specs[later].method as u8;
            match relation(specs[earlier].path, specs[later].path) {
                Relation::SameShape | Relation::Equal if same_method => {
                    checks[later] = RouteCheck::SameRequests { earlier };
                }
                Relation::SameShape => checks[later] = RouteCheck::OtherNames { earlier },
                Relation::OtherShape | Relation::Equal => {}
            }
        }
        next = shapes[earlier].before;
    }
}

/// How two path templates stand to one another.
enum Relation {
    OtherShape,
    SameShape,
    Equal,
}

const fn relation(one: &str, other: &str) -> Relation {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (mut i, mut j, mut equal) = (0, 0, true);
    while i < one.len() && j < other.len() {
        if one[i] != other[j] {
            return Relation::OtherShape;
        }
        if one[i] == b'{' {
            let (end, other_end) = (parameter_end(one, i), parameter_end(other, j));
            equal = equal && same_bytes(one, i, end, other, j, other_end);
            (i, j) = (end, other_end);
        } else {
            (i, j) = (i + 1, j + 1);
        }
    }
    match (i == one.len() && j == other.len(), equal) {
        (false, _) => Relation::OtherShape,
        (true, false) => Relation::SameShape,
        (true, true) => Relation::Equal,
    }
}

const fn same_bytes(
    one: &[u8],
    from: usize,
    to: usize,
    other: &[u8],
    other_from: usize,
    other_to: usize,
) -> bool {
    if to - from != other_to - other_from {
        return false;
    }
    let mut offset = 0;
    while offset < to - from {
        if one[from + offset] != other[other_from + offset] {
            return false;
        }
        offset += 1;
    }
    true
}

/// Where the parameter that begins at `index` ends.
const fn parameter_end(path: &[u8], mut index: usize) -> usize {
    while index < path.len() && path[index] != b'}' {
        index += 1;
    }
    index
}

/// Whether one version is served by both. Endpoints with mistakes have no path and meet nobody.
const fn overlap(one: &EndpointSpec, other: &EndpointSpec) -> bool {
    if one.path.is_empty() || other.path.is_empty() {
        return false;
    }
    match (one.version, other.version) {
        (None, None) => true,
        (Some(a), Some(b)) => a.first() <= last(b.last()) && b.first() <= last(a.last()),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

const fn last(last: Option<u32>) -> u32 {
    match last {
        Some(last) => last,
        None => u32::MAX,
    }
}

/// A polynomial over the path without the names of its parameters, and whether it is versioned.
const fn shape_hash(spec: &EndpointSpec) -> u64 {
    const BASE: u64 = 0x0000_0100_0000_01b3;
    let path = spec.path.as_bytes();
    let mut hash: u64 = if spec.version.is_some() { 1 } else { 2 };
    let mut index = 0;
    while index < path.len() {
        hash = hash.wrapping_mul(BASE) ^ path[index] as u64;
        if path[index] == b'{' {
            index = parameter_end(path, index);
        } else {
            index += 1;
        }
    }
    hash
}

/// Whether those that begin at the lowest version reach up to where the last begins, as in a list of
/// one version or two: then nothing has to be sorted.
const fn is_without_hole(specs: &[EndpointSpec]) -> bool {
    let (mut lowest, mut reached, mut highest) = (u32::MAX, 0, 0);
    let mut index = 0;
    while index < specs.len() {
        if let Some(version) = specs[index].version {
            let (first, last) = (version.first(), last(version.last()));
            if first < lowest || first == lowest && last > reached {
                (lowest, reached) = (first, last);
            }
            highest = if first > highest { first } else { highest };
        }
        index += 1;
    }
    highest <= reached.saturating_add(1)
}

/// Marks the first endpoint above the lowest version that nobody serves. Where an endpoint has
/// mistakes nothing is marked, because it may be the one that serves it.
const fn find_hole(specs: &[EndpointSpec], order: &mut [Ranked], checks: &mut [RouteCheck]) {
    let mut index = 0;
    while index < order.len() {
        if specs[index].path.is_empty() {
            return;
        }
        let key = match specs[index].version {
            Some(version) => version.first() as u64,
            None => 0,
        };
        order[index] = Ranked { key, index };
        index += 1;
    }
    sort(order);
    let mut served: Option<u32> = None;
    let mut position = 0;
    while position < order.len() {
        let index = order[position].index;
        if let Some(version) = specs[index].version {
            let up_to = match served {
                Some(served) if version.first() > served.saturating_add(1) => {
                    if matches!(checks[index], RouteCheck::Mountable) {
                        checks[index] = RouteCheck::Hole {
                            version: served + 1,
                        };
                    }
                    return;
                }
                Some(served) => served,
                None => 0,
            };
            let last = last(version.last());
            served = Some(if last > up_to { last } else { up_to });
        }
        position += 1;
    }
}

#[cfg(test)]
mod tests;
