//! Checks of successors at compile time.

use super::describe::is_same;
use super::sort::{Ranked, sort};
use super::{RouteCheck, parameter_end, same_bytes};
use crate::spec::{EndpointId, EndpointSpec};

/// Marks endpoints with an invalid successor, unless they have another conflict. If an endpoint did
/// not compile, nothing is marked, because that endpoint may be the successor.
pub(super) const fn check_successors(
    specs: &[EndpointSpec],
    order: &mut [Ranked],
    checks: &mut [RouteCheck],
) {
    if !can_be_checked(specs) {
        return;
    }
    let mut index = 0;
    while index < order.len() {
        order[index] = Ranked {
            key: id_hash(&specs[index].id()),
            index,
        };
        index += 1;
    }
    sort(order);
    let list = List { specs, order };
    index = 0;
    while index < specs.len() {
        if matches!(checks[index], RouteCheck::Mountable) {
            checks[index] = list.check(index);
        }
        index += 1;
    }
}

/// Returns `true` if there is a successor, and all endpoints have compiled.
const fn can_be_checked(specs: &[EndpointSpec]) -> bool {
    let (mut index, mut has_successor) = (0, false);
    while index < specs.len() {
        if specs[index].path.is_empty() {
            return false;
        }
        has_successor = has_successor || successor(&specs[index]).is_some();
        index += 1;
    }
    has_successor
}

const fn successor(spec: &EndpointSpec) -> Option<EndpointId> {
    match spec.deprecation {
        Some(deprecation) => deprecation.successor,
        None => None,
    }
}

/// Returns a hash of the line and the name. Equal hashes only select candidates: their ids are then
/// compared as text.
const fn id_hash(id: &EndpointId) -> u64 {
    let mut hash = id.location.line as u64;
    let (name, mut index) = (id.name.as_bytes(), 0);
    while index < name.len() {
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3) ^ name[index] as u64;
        index += 1;
    }
    hash
}

/// The endpoints, and their indices in the order of the hashes of their ids.
#[derive(Clone, Copy)]
struct List<'a> {
    specs: &'a [EndpointSpec],
    order: &'a [Ranked],
}

impl List<'_> {
    const fn check(self, index: usize) -> RouteCheck {
        let spec = &self.specs[index];
        let Some(id) = successor(spec) else {
            return RouteCheck::Mountable;
        };
        let Some(successor) = self.find(&id) else {
            return RouteCheck::SuccessorUnlisted;
        };
        match self.first_of_cycle(index) {
            Some(first) if first == index => return RouteCheck::SuccessorCycle { successor },
            Some(_) => return RouteCheck::Mountable,
            None => {}
        }
        let other = &self.specs[successor];
        if spec.method as u8 != other.method as u8 {
            RouteCheck::SuccessorMethod { successor }
        } else if missing_parameter(spec.path, other.path).is_some() {
            RouteCheck::SuccessorParameter { successor }
        } else if !outlasts(other, spec) {
            RouteCheck::SuccessorSunset { successor }
        } else {
            RouteCheck::Mountable
        }
    }

    /// Returns the index of the endpoint in the list, by binary search over the hashes.
    const fn find(self, id: &EndpointId) -> Option<usize> {
        let key = id_hash(id);
        let (mut low, mut high) = (0, self.order.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.order[middle].key < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < self.order.len() && self.order[low].key == key {
            if is_same(&self.specs[self.order[low].index].id(), id) {
                return Some(self.order[low].index);
            }
            low += 1;
        }
        None
    }

    /// Returns the lowest index in the cycle of successors to which this endpoint belongs, or
    /// `None` if it belongs to no cycle.
    const fn first_of_cycle(self, index: usize) -> Option<usize> {
        let (mut current, mut first, mut steps) = (index, index, 0);
        while steps < self.specs.len() {
            let Some(id) = successor(&self.specs[current]) else {
                return None;
            };
            let Some(next) = self.find(&id) else {
                return None;
            };
            if next == index {
                return Some(first);
            }
            (current, steps) = (next, steps + 1);
            if current < first {
                first = current;
            }
        }
        None
    }
}

/// Returns `true` if the sunset of the successor is later, or if one of the two endpoints has no
/// sunset.
const fn outlasts(successor: &EndpointSpec, spec: &EndpointSpec) -> bool {
    match (successor.deprecation, spec.deprecation) {
        (Some(later), Some(earlier)) => match (later.sunset, earlier.sunset) {
            (Some(later), Some(earlier)) => earlier.is_before(later),
            _ => true,
        },
        _ => true,
    }
}

/// Returns the range of the first parameter name in `path` that is not a parameter of `own`.
pub(super) const fn missing_parameter(own: &str, path: &str) -> Option<(usize, usize)> {
    let bytes = path.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'{' {
            let end = parameter_end(bytes, index);
            if !has_parameter(own.as_bytes(), bytes, index, end) {
                return Some((index + 1, end));
            }
            index = end;
        }
        index += 1;
    }
    None
}

const fn has_parameter(own: &[u8], path: &[u8], from: usize, to: usize) -> bool {
    let mut index = 0;
    while index < own.len() {
        if own[index] == b'{' {
            let end = parameter_end(own, index);
            if same_bytes(own, index, end, path, from, to) {
                return true;
            }
            index = end;
        }
        index += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::deprecation::{DeprecationSpec, date};
    use crate::policies::version::VersionSpec;
    use crate::spec::{Method, SourceLocation};

    fn id(line: u32) -> EndpointId {
        EndpointId::new(
            "f",
            SourceLocation::new("accounts", "src/accounts.rs", line),
        )
    }

    /// Returns an endpoint that is declared in this line, with a successor in another line and a
    /// sunset at the end of a year.
    fn spec(
        line: u32,
        path: &'static str,
        successor: Option<u32>,
        year: Option<u16>,
    ) -> EndpointSpec {
        let deprecation = DeprecationSpec {
            successor: successor.map(id),
            sunset: year.map(|year| date(year, 12, 31)),
            ..DeprecationSpec::new()
        };
        EndpointSpec::new(Method::Get, path, "f")
            .with_version(VersionSpec::new(line, Some(line)))
            .with_deprecation(Box::leak(Box::new(deprecation)))
            .with_id(id(line))
    }

    fn checks(specs: &[EndpointSpec]) -> Vec<RouteCheck> {
        let mut checks = vec![RouteCheck::Mountable; specs.len()];
        check_successors(
            specs,
            &mut vec![Ranked { key: 0, index: 0 }; specs.len()],
            &mut checks,
        );
        checks
    }

    #[test]
    fn e02_a_chain_of_successors_is_accepted() {
        let specs = [
            spec(3, "/a/{id}", None, None),
            spec(1, "/a/{id}", Some(2), Some(2026)),
            spec(2, "/a/{id}", Some(3), Some(2027)),
        ];
        assert_eq!(checks(&specs), [RouteCheck::Mountable; 3]);
        let without_days = [
            spec(1, "/a", Some(2), None),
            spec(2, "/a", None, Some(2027)),
        ];
        assert_eq!(
            checks(&without_days),
            [RouteCheck::Mountable; 2],
            "an endpoint without a sunset may get one later"
        );
    }

    #[test]
    fn e02_an_invalid_successor_is_rejected() {
        let put = EndpointSpec {
            method: Method::Put,
            ..spec(2, "/a/{id}", None, None)
        };
        for (other, check) in [
            (
                spec(7, "/a/{id}", None, None),
                RouteCheck::SuccessorUnlisted,
            ),
            (put, RouteCheck::SuccessorMethod { successor: 1 }),
            (
                spec(2, "/a/{key}", None, None),
                RouteCheck::SuccessorParameter { successor: 1 },
            ),
            (
                spec(2, "/a/{id}/b/{key}", None, None),
                RouteCheck::SuccessorParameter { successor: 1 },
            ),
            (
                spec(2, "/a/{id}", None, Some(2026)),
                RouteCheck::SuccessorSunset { successor: 1 },
            ),
            (
                spec(2, "/a/{id}", None, Some(2025)),
                RouteCheck::SuccessorSunset { successor: 1 },
            ),
            (spec(2, "/b", None, Some(2027)), RouteCheck::Mountable),
            (spec(2, "", None, None), RouteCheck::Mountable),
        ] {
            let specs = [spec(1, "/a/{id}", Some(2), Some(2026)), other];
            assert_eq!(
                checks(&specs),
                [check, RouteCheck::Mountable],
                "{}",
                specs[1].path
            );
        }
    }

    #[test]
    fn e02_a_cycle_is_marked_once_and_a_chain_into_it_is_not_marked() {
        let specs = [
            spec(9, "/a", Some(1), None),
            spec(3, "/a", Some(1), None),
            spec(1, "/a", Some(2), None),
            spec(2, "/a", Some(3), None),
            spec(4, "/a", Some(4), None),
        ];
        assert_eq!(
            checks(&specs),
            [
                RouteCheck::Mountable,
                RouteCheck::SuccessorCycle { successor: 2 },
                RouteCheck::Mountable,
                RouteCheck::Mountable,
                RouteCheck::SuccessorCycle { successor: 4 },
            ]
        );
    }

    #[test]
    fn endpoints_in_one_line_are_distinguished_by_name() {
        let named = |name: &'static str| EndpointId { name, ..id(1) };
        let deprecation: &DeprecationSpec =
            Box::leak(Box::new(DeprecationSpec::new().with_successor(named("g"))));
        let specs = [
            spec(1, "/a", None, None)
                .with_id(named("f"))
                .with_deprecation(deprecation),
            EndpointSpec {
                method: Method::Put,
                ..spec(1, "/a", None, None).with_id(named("g"))
            },
        ];
        assert_eq!(
            checks(&specs)[0],
            RouteCheck::SuccessorMethod { successor: 1 }
        );
    }
}
