//! Successors that cannot take over, found when compiling.

use super::describe::is_same;
use super::sort::{Ranked, sort};
use super::{RouteCheck, parameter_end, same_bytes};
use crate::spec::{EndpointId, EndpointSpec};

/// Marks the endpoints whose successors cannot take over, unless there is something else against
/// them. Where an endpoint has mistakes nothing is marked, because it may be the successor.
pub(super) const fn check_successors(
    specs: &[EndpointSpec],
    order: &mut [Ranked],
    checks: &mut [RouteCheck],
) {
    if !are_to_be_judged(specs) {
        return;
    }
    let mut index = 0;
    while index < order.len() {
        order[index] = Ranked {
            key: place_hash(&specs[index].id()),
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

const fn are_to_be_judged(specs: &[EndpointSpec]) -> bool {
    let (mut index, mut any) = (0, false);
    while index < specs.len() {
        if specs[index].path.is_empty() {
            return false;
        }
        any = any || successor(&specs[index]).is_some();
        index += 1;
    }
    any
}

const fn successor(spec: &EndpointSpec) -> Option<EndpointId> {
    match spec.deprecation {
        Some(deprecation) => deprecation.successor,
        None => None,
    }
}

/// Groups endpoints by their place; what it groups is compared by its text.
const fn place_hash(id: &EndpointId) -> u64 {
    let mut hash = id.location.line as u64;
    let (name, mut index) = (id.name.as_bytes(), 0);
    while index < name.len() {
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3) ^ name[index] as u64;
        index += 1;
    }
    hash
}

/// The endpoints, and their order by their places' hashes.
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
        match self.first_of_circle(index) {
            Some(first) if first == index => return RouteCheck::SuccessorCircle { successor },
            Some(_) => return RouteCheck::Mountable,
            None => {}
        }
        let other = &self.specs[successor];
        if spec.method as u8 != other.method as u8 {
            RouteCheck::SuccessorMethod { successor }
        } else if foreign_parameter(spec.path, other.path).is_some() {
            RouteCheck::SuccessorParameter { successor }
        } else if !outlasts(other, spec) {
            RouteCheck::SuccessorSunset { successor }
        } else {
            RouteCheck::Mountable
        }
    }

    /// Where the endpoint stands in the list.
    const fn find(self, id: &EndpointId) -> Option<usize> {
        let key = place_hash(id);
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

    /// The lowest index among those that succeed one another in a circle with this one.
    const fn first_of_circle(self, index: usize) -> Option<usize> {
        let (mut at, mut first, mut steps) = (index, index, 0);
        while steps < self.specs.len() {
            let Some(id) = successor(&self.specs[at]) else {
                return None;
            };
            let Some(next) = self.find(&id) else {
                return None;
            };
            if next == index {
                return Some(first);
            }
            (at, steps) = (next, steps + 1);
            if at < first {
                first = at;
            }
        }
        None
    }
}

/// Whether a successor is there for longer, as far as their ends are known.
const fn outlasts(successor: &EndpointSpec, spec: &EndpointSpec) -> bool {
    match (successor.deprecation, spec.deprecation) {
        (Some(later), Some(sooner)) => match (later.sunset, sooner.sunset) {
            (Some(later), Some(sooner)) => sooner.is_before(later),
            _ => true,
        },
        _ => true,
    }
}

/// Where in `path` the name of a parameter stands that `own` does not have.
pub(super) const fn foreign_parameter(own: &str, path: &str) -> Option<(usize, usize)> {
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

    /// The endpoint in this line, whose successor is that of another one.
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

    fn judged(specs: &[EndpointSpec]) -> Vec<RouteCheck> {
        let mut checks = vec![RouteCheck::Mountable; specs.len()];
        check_successors(
            specs,
            &mut vec![Ranked { key: 0, index: 0 }; specs.len()],
            &mut checks,
        );
        checks
    }

    #[test]
    fn e02_a_chain_of_successors_is_taken() {
        let specs = [
            spec(3, "/a/{id}", None, None),
            spec(1, "/a/{id}", Some(2), Some(2026)),
            spec(2, "/a/{id}", Some(3), Some(2027)),
        ];
        assert_eq!(judged(&specs), [RouteCheck::Mountable; 3]);
        let without_days = [
            spec(1, "/a", Some(2), None),
            spec(2, "/a", None, Some(2027)),
        ];
        assert_eq!(
            judged(&without_days),
            [RouteCheck::Mountable; 2],
            "it may be given a sunset of its own"
        );
    }

    #[test]
    fn e02_a_successor_that_cannot_take_over_is_refused() {
        let put = EndpointSpec {
            method: Method::Put,
            ..spec(2, "/a/{id}", None, None)
        };
        for (other, verdict) in [
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
                judged(&specs),
                [verdict, RouteCheck::Mountable],
                "{}",
                specs[1].path
            );
        }
    }

    #[test]
    fn e02_a_circle_is_refused_once_and_who_leads_into_it_is_not() {
        let specs = [
            spec(9, "/a", Some(1), None),
            spec(3, "/a", Some(1), None),
            spec(1, "/a", Some(2), None),
            spec(2, "/a", Some(3), None),
            spec(4, "/a", Some(4), None),
        ];
        assert_eq!(
            judged(&specs),
            [
                RouteCheck::Mountable,
                RouteCheck::SuccessorCircle { successor: 2 },
                RouteCheck::Mountable,
                RouteCheck::Mountable,
                RouteCheck::SuccessorCircle { successor: 4 },
            ]
        );
    }

    #[test]
    fn names_of_one_line_are_told_apart() {
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
            judged(&specs)[0],
            RouteCheck::SuccessorMethod { successor: 1 }
        );
    }
}
