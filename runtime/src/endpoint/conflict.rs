//! Conflicts between the endpoints of a list, found at compile time.
//!
//! Each endpoint is compared with the earlier endpoints whose path has the same shape. Two paths
//! have the same shape if they differ only in the names of parameters. A hash table finds the
//! endpoints with the same shape, so that thousands of routes add no noticeable compile time. Equal
//! hashes only select candidates: their paths are then compared as text.

mod describe;
mod shapes;
mod sort;
mod successors;

use shapes::{Shape, insert};
use sort::{Ranked, sort};

use crate::spec::EndpointSpec;

/// The result of comparing an endpoint with the others of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteCheck {
    /// There is no conflict.
    Mountable,
    /// The endpoint serves the same requests as an earlier endpoint.
    SameRequests {
        /// The index of the earlier endpoint.
        earlier: usize,
    },
    /// The path of the endpoint differs from the path of an earlier endpoint only in the names of
    /// parameters. A router rejects such paths, even if the methods differ.
    ParameterNames {
        /// The index of the earlier endpoint.
        earlier: usize,
    },
    /// A version gap: this endpoint starts at a higher version than `version`, other endpoints
    /// serve lower versions, and no endpoint serves `version`.
    VersionGap {
        /// The first version that no endpoint serves.
        version: u32,
    },
    /// The successor of the endpoint is not in the list.
    SuccessorUnlisted,
    /// The successor of the endpoint has another method.
    SuccessorMethod {
        /// The index of the successor.
        successor: usize,
    },
    /// The path of the successor has a parameter that the path of the endpoint does not have, so
    /// responses cannot link to the successor.
    SuccessorParameter {
        /// The index of the successor.
        successor: usize,
    },
    /// The sunset of the successor is not later than the sunset of the endpoint.
    SuccessorSunset {
        /// The index of the successor.
        successor: usize,
    },
    /// The chain of successors leads back to the endpoint. Only the first endpoint of a cycle is
    /// marked.
    SuccessorCycle {
        /// The index of the successor.
        successor: usize,
    },
}

/// Compares all endpoints of a list. `N` is the list's length.
pub const fn check_routes<const N: usize>(specs: &[EndpointSpec]) -> [RouteCheck; N] {
    let mut checks = [RouteCheck::Mountable; N];
    let mut order = [Ranked { key: 0, index: 0 }; N];
    compare_all(specs, &mut [Shape::NONE; N], &mut order, &mut checks);
    checks
}

/// Fails the compilation if the endpoint at `index` has a conflict.
#[track_caller]
pub const fn assert_mountable(specs: &[EndpointSpec], checks: &[RouteCheck], index: usize) {
    let message = match checks[index] {
        RouteCheck::Mountable => return,
        RouteCheck::SameRequests { earlier } => {
            describe::same_requests(&specs[index], &specs[earlier])
        }
        RouteCheck::ParameterNames { earlier } => {
            describe::parameter_names(&specs[index], &specs[earlier])
        }
        RouteCheck::VersionGap { version } => describe::version_gap(&specs[index], version),
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
        RouteCheck::SuccessorCycle { successor } => {
            describe::successor_cycle(&specs[index], &specs[successor])
        }
    };
    panic!("{}", message.as_str());
}

const fn compare_all(
    specs: &[EndpointSpec],
    shapes: &mut [Shape],
    order: &mut [Ranked],
    checks: &mut [RouteCheck],
) {
    let mut index = 0;
    while index < shapes.len() {
        insert(shapes, index, shape_hash(&specs[index]));
        compare_with_earlier(specs, shapes, index, checks);
        index += 1;
    }
    if !has_obviously_no_gap(specs) {
        find_version_gap(specs, order, checks);
    }
    successors::check_successors(specs, order, checks);
}

/// Compares an endpoint with the earlier ones whose shape has the same hash. If an endpoint
/// conflicts with several earlier endpoints, the conflict with the earliest of them is reported.
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
                Relation::SameShape => checks[later] = RouteCheck::ParameterNames { earlier },
                Relation::OtherShape | Relation::Equal => {}
            }
        }
        next = shapes[earlier].before;
    }
}

/// The result of comparing two path templates.
enum Relation {
    OtherShape,
    /// Only names of parameters differ.
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

/// Compares two ranges of bytes, because a constant cannot compare slices with `==`.
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

/// Returns the index of the brace that closes the parameter at `index`.
const fn parameter_end(path: &[u8], mut index: usize) -> usize {
    while index < path.len() && path[index] != b'}' {
        index += 1;
    }
    index
}

/// Returns `true` if both endpoints serve a common version. An endpoint that did not compile has no
/// path, and overlaps with no other endpoint.
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

/// Returns the last version of a range, or the largest number for an open range.
const fn last(last: Option<u32>) -> u32 {
    match last {
        Some(last) => last,
        None => u32::MAX,
    }
}

/// Returns a hash of the path without the names of its parameters. The hash also depends on whether
/// the endpoint has a version.
const fn shape_hash(spec: &EndpointSpec) -> u64 {
    // The prime of FNV-1.
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

/// Returns `true` if one range covers all versions from the lowest first version up to the highest
/// first version, or up to the version just below it. No gap is possible then, and nothing needs to
/// be sorted. Most lists with one or two versions have this range.
const fn has_obviously_no_gap(specs: &[EndpointSpec]) -> bool {
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

/// Finds the lowest version gap, and marks the first endpoint whose versions begin above the gap.
/// If an endpoint did not compile, nothing is marked, because that endpoint may serve the version.
const fn find_version_gap(specs: &[EndpointSpec], order: &mut [Ranked], checks: &mut [RouteCheck]) {
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
            let served_up_to = match served {
                Some(served) if version.first() > served.saturating_add(1) => {
                    if matches!(checks[index], RouteCheck::Mountable) {
                        checks[index] = RouteCheck::VersionGap {
                            version: served + 1,
                        };
                    }
                    return;
                }
                Some(served) => served,
                None => 0,
            };
            let last = last(version.last());
            served = Some(if last > served_up_to {
                last
            } else {
                served_up_to
            });
        }
        position += 1;
    }
}

#[cfg(test)]
mod tests;
