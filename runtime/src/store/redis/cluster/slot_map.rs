//! The map of the slots of a cluster to their owners, as a node reports it.

use core::ops::RangeInclusive;

use redis::{FromRedisValue, Value};

use crate::store::redis::hash_slot::HashSlot;
use crate::store::redis::url::Address;

/// The owners of all slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// Ranges of slots and their owners, in ascending order and without overlaps.
    ranges: Vec<(RangeInclusive<u16>, Address)>,
    replicas: Vec<Address>,
}

/// A node's view of its cluster. The order of the views shows which slot map is newer. A working
/// node has a greater view than an isolated node. Between two working nodes, the node with the
/// higher epoch has the greater view.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeView {
    // The order of the fields matters. `is_ok` is first, so that the view of an isolated node is
    // less than the view of a working node, even with a higher epoch.
    /// `true` if the node considers the cluster working. An isolated node does not.
    is_ok: bool,
    /// The configuration epoch, which grows with each fail-over.
    epoch: u64,
}

impl SlotMap {
    /// Parses the reply of `CLUSTER SLOTS` from the node at this address.
    pub(super) fn parse(reply: &Value, node: &Address) -> Option<Self> {
        let mut map = Self::default();
        for range in array(reply)? {
            let [first, last, primary, replicas @ ..] = array(range)? else {
                return None;
            };
            let (first, last) = (parse_slot(first)?, parse_slot(last)?);
            // A node with an unknown host cannot be reached, so its slots count as missing.
            if let Some(primary) = parse_node(primary, node) {
                map.ranges.push((first..=last, primary));
            }
            map.replicas.extend(
                replicas
                    .iter()
                    .filter_map(|replica| parse_node(replica, node)),
            );
        }
        map.ranges.sort_by_key(|(range, _)| *range.start());
        map.replicas.sort();
        map.replicas.dedup();
        let is_disjoint = map
            .ranges
            .windows(2)
            .all(|pair| pair[0].0.end() < pair[1].0.start());
        (is_disjoint && !map.ranges.is_empty()).then_some(map)
    }

    /// Returns the owner of a slot.
    pub(super) fn owner(&self, slot: HashSlot) -> Option<&Address> {
        let index = self
            .ranges
            .partition_point(|(range, _)| *range.end() < slot.0);
        let (range, owner) = self.ranges.get(index)?;
        range.contains(&slot.0).then_some(owner)
    }

    /// Returns all nodes with slots, sorted.
    pub(super) fn primaries(&self) -> Vec<Address> {
        let mut primaries: Vec<_> = self.ranges.iter().map(|(_, node)| node.clone()).collect();
        primaries.sort();
        primaries.dedup();
        primaries
    }

    pub(super) fn replicas(&self) -> &[Address] {
        &self.replicas
    }

    /// Returns the number of slots without an owner.
    pub(super) fn missing(&self) -> usize {
        usize::from(HashSlot::COUNT)
            - self
                .ranges
                .iter()
                .map(|(range, _)| range.len())
                .sum::<usize>()
    }
}

impl NodeView {
    /// Parses the reply of `CLUSTER INFO`.
    pub(super) fn parse(reply: &Value) -> Option<Self> {
        let text = String::from_redis_value_ref(reply).ok()?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
        };
        Some(Self {
            is_ok: field("cluster_state")? == "ok",
            epoch: field("cluster_current_epoch")?.parse().ok()?,
        })
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn parse_slot(value: &Value) -> Option<u16> {
    u16::from_redis_value_ref(value)
        .ok()
        .filter(|slot| *slot < HashSlot::COUNT)
}

/// Parses the address that a node announces; `None` if its host is unknown (`?`). An empty host
/// means the host of the node that replied.
fn parse_node(value: &Value, replying_node: &Address) -> Option<Address> {
    let [host, port, ..] = array(value)? else {
        return None;
    };
    let host = Option::<String>::from_redis_value_ref(host)
        .ok()?
        .unwrap_or_default();
    let port = u16::from_redis_value_ref(port)
        .ok()
        .filter(|port| *port != 0)?;
    match host.as_str() {
        "?" => None,
        "" => Some(Address {
            host: replying_node.host.clone(),
            port,
        }),
        _ => Some(Address { host, port }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last slot of a range, and its nodes.
    type Range<'a> = (i64, i64, &'a [(Option<&'a str>, i64)]);

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.to_owned(),
            port,
        }
    }

    fn reply(ranges: &[Range<'_>]) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |(host, port): &(Option<&str>, i64)| {
            Value::Array(vec![
                host.map_or(Value::Nil, text),
                Value::Int(*port),
                text("an id"),
                Value::Array(vec![]),
            ])
        };
        let range = |(first, last, nodes): &(i64, i64, &[_])| {
            let mut range = vec![Value::Int(*first), Value::Int(*last)];
            range.extend(nodes.iter().map(node));
            Value::Array(range)
        };
        Value::Array(ranges.iter().map(range).collect())
    }

    fn parse(ranges: &[Range<'_>]) -> Option<SlotMap> {
        SlotMap::parse(&reply(ranges), &at("seed", 1))
    }

    #[test]
    fn owners_primaries_and_replicas_are_parsed() {
        let map = parse(&[
            (8192, 16_383, &[(Some("b"), 2)]),
            (0, 99, &[(Some("a"), 1), (Some("c"), 3)]),
            (101, 8191, &[(Some("a"), 1)]),
        ]);
        let map = map.expect("a map");
        let owner = |slot| map.owner(HashSlot(slot)).cloned();
        for slot in [0, 99, 101, 8191] {
            assert_eq!(owner(slot), Some(at("a", 1)), "{slot}");
        }
        assert_eq!((owner(100), map.missing()), (None, 1));
        assert_eq!(
            (owner(8192), owner(16_383)),
            (Some(at("b", 2)), Some(at("b", 2)))
        );
        assert_eq!(map.primaries(), [at("a", 1), at("b", 2)]);
        assert_eq!(map.replicas(), [at("c", 3)]);
    }

    #[test]
    fn a_node_without_a_host_has_the_host_of_the_replying_node() {
        let map = parse(&[
            (0, 1, &[(None, 2)]),
            (2, 3, &[(Some(""), 3)]),
            (4, 5, &[(Some("?"), 4)]),
        ]);
        assert_eq!(
            map.expect("a map").primaries(),
            [at("seed", 2), at("seed", 3)]
        );
    }

    #[test]
    fn an_invalid_map_is_not_parsed() {
        assert_eq!(parse(&[]), None);
        assert_eq!(
            parse(&[(0, 16_384, &[(Some("a"), 1)])]),
            None,
            "no such slot"
        );
        assert_eq!(
            parse(&[(0, 9, &[(Some("a"), 1)]), (9, 10, &[(Some("b"), 1)])]),
            None,
            "an overlap"
        );
        assert_eq!(SlotMap::parse(&Value::Int(1), &at("seed", 1)), None);
        assert_eq!(
            SlotMap::parse(
                &Value::Array(vec![Value::Array(vec![Value::Int(0)])]),
                &at("seed", 1)
            ),
            None
        );
    }

    #[test]
    fn the_view_of_an_isolated_node_is_less_than_any_other() {
        let view = |state: &str, epoch: u64| {
            let text = format!(
                "cluster_state:{state}\r\ncluster_slots_ok:1\r\ncluster_current_epoch:{epoch}\r\n"
            );
            NodeView::parse(&Value::BulkString(text.into_bytes())).expect("a view")
        };
        assert!(view("ok", 7) > view("ok", 6));
        assert!(view("ok", 6) > view("fail", 7));
        assert_eq!(NodeView::parse(&Value::Nil), None);
    }
}
