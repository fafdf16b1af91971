use core::time::Duration;
use std::net::SocketAddr;

use futures_util::future::{BoxFuture, ready};

use super::group::{offsets, options, start_all, until, until_replicated};
use super::process::Role;
use super::{Port, RedisServer, Reply};
use crate::testing::Elapse;

/// A Redis Cluster of three primaries with one replica each. Each of the six nodes is a
/// [`RedisServer`].
///
/// A node counts as down after a second without a reply. Methods block the thread. They panic if
/// the cluster does not reach the expected state within a minute.
///
/// ```no_run
/// use aplomb::testing::RedisCluster;
///
/// let cluster = RedisCluster::start();
/// let slot = cluster.slot_of("key");
/// let before = cluster.owner(slot).address();
/// cluster.until_replicated(slot);
/// cluster.owner(slot).kill();
/// cluster.until_failed_over(slot, before);
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    buses: Vec<Port>,
}

/// A slot that is migrating from one node to another. Clients are redirected between the two nodes
/// until [`end`](Self::end).
#[derive(Debug)]
#[must_use = "the slot stays in migration until `end` is called"]
pub struct Migration<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

impl RedisCluster {
    /// Starts all nodes, and returns after they have met, serve every slot, and replicate.
    ///
    /// # Panics
    ///
    /// Panics if `redis-server` is not on the `PATH`, or if a node does not start.
    #[track_caller]
    pub fn start() -> Self {
        let buses: Vec<_> = (0..2 * PRIMARIES).map(|_| Port::free()).collect();
        let cluster = Self {
            nodes: start_all(buses.iter().map(node_role).collect()),
            buses,
        };
        cluster.connect_nodes();
        cluster.assign_slots();
        until("all nodes have met", || {
            cluster
                .nodes
                .iter()
                .all(|node| count_known_nodes(node) == 2 * PRIMARIES)
        });
        cluster.assign_replicas();
        until("the cluster serves every slot", || cluster.is_ready());
        cluster
    }

    /// Returns the URL of the cluster, with the addresses of three nodes:
    /// `redis+cluster://127.0.0.1:<port>,…`.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes[..PRIMARIES]
            .iter()
            .map(|node| node.address().to_string())
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Returns all nodes. The first three are the primaries, until a failover.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// Returns the slot of a key, from 0 to 16,383.
    #[track_caller]
    pub fn slot_of(&self, key: &str) -> u16 {
        let reply = self
            .nodes
            .iter()
            .find_map(|node| node.try_command(&["CLUSTER", "KEYSLOT", key]));
        match reply {
            Some(Reply::Integer(slot)) => u16::try_from(slot).expect("a slot"),
            other => panic!("no node returned the slot of the key: {other:?}"),
        }
    }

    /// Returns the node that owns a slot. Waits until all nodes that respond agree on the owner.
    #[track_caller]
    pub fn owner(&self, slot: u16) -> &RedisServer {
        let mut owner = None;
        until("the nodes agree on the owner of a slot", || {
            owner = self.agreed_owner(slot);
            owner.is_some()
        });
        owner.expect("they agree")
    }

    /// Returns the nodes that respond and are primaries.
    #[track_caller]
    pub fn primaries(&self) -> Vec<&RedisServer> {
        let all = self.nodes.iter().filter(|node| node.responds());
        all.filter(|node| offsets(node).is_some()).collect()
    }

    /// Waits until the replica of the slot's owner has all data that the owner has at the time of
    /// the call.
    #[track_caller]
    pub fn until_replicated(&self, slot: u16) {
        until_replicated(self.owner(slot), 1);
    }

    /// Waits until a node other than `from` owns the slot, and the cluster serves all slots.
    #[track_caller]
    pub fn until_failed_over(&self, slot: u16, from: SocketAddr) {
        until("another node owns the slot", || {
            self.agreed_owner(slot)
                .is_some_and(|owner| owner.address() != from)
                && self
                    .nodes
                    .iter()
                    .all(|node| !node.responds() || cluster_state(node).as_deref() == Some("ok"))
        });
    }

    /// Begins the migration of a slot to another node. Until the migration ends, each key of the
    /// slot is on one of the two nodes.
    #[track_caller]
    pub fn begin_migration<'a>(&'a self, slot: u16, to: &'a RedisServer) -> Migration<'a> {
        let from = self.owner(slot);
        let number = slot.to_string();
        let importing = to.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &node_id(from)]);
        let migrating = from.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &node_id(to)]);
        assert_eq!((importing, migrating), (Reply::ok(), Reply::ok()));
        Migration {
            cluster: self,
            slot,
            from,
            to,
        }
    }

    /// Migrates a slot with all its keys to another node.
    #[track_caller]
    pub fn migrate(&self, slot: u16, to: &RedisServer) {
        self.begin_migration(slot, to).end();
    }

    /// Makes every node meet every other node. Before this, each node gets a different
    /// configuration epoch. Nodes with equal epochs would have to resolve this conflict before they
    /// agree on slots.
    fn connect_nodes(&self) {
        for (number, node) in (1..).zip(&self.nodes) {
            let epoch = number.to_string();
            assert_eq!(
                node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]),
                Reply::ok()
            );
        }
        let pairs = self.nodes.iter().enumerate();
        for (other, node) in
            pairs.flat_map(|(at, node)| self.nodes[at + 1..].iter().map(move |other| (other, node)))
        {
            let (host, port) = (
                other.address().ip().to_string(),
                other.address().port().to_string(),
            );
            let bus = self.bus_port_of(other).to_string();
            assert_eq!(
                node.command(&["CLUSTER", "MEET", &host, &port, &bus]),
                Reply::ok()
            );
        }
    }

    fn bus_port_of(&self, node: &RedisServer) -> u16 {
        let at = self
            .nodes
            .iter()
            .position(|other| other.address() == node.address());
        self.buses[at.expect("a node of the cluster")]
            .address()
            .port()
    }

    fn assign_slots(&self) {
        for (at, node) in self.nodes[..PRIMARIES].iter().enumerate() {
            let (first, last) = (SLOTS * at / PRIMARIES, SLOTS * (at + 1) / PRIMARIES - 1);
            let range = [
                "CLUSTER",
                "ADDSLOTSRANGE",
                &first.to_string(),
                &last.to_string(),
            ];
            assert_eq!(node.command(&range), Reply::ok());
        }
    }

    fn assign_replicas(&self) {
        let (primaries, replicas) = self.nodes.split_at(PRIMARIES);
        for (primary, replica) in primaries.iter().zip(replicas) {
            let primary = node_id(primary);
            until("a replica has met its primary", || {
                replica.try_command(&["CLUSTER", "REPLICATE", &primary]) == Some(Reply::ok())
            });
        }
    }

    fn is_ready(&self) -> bool {
        let (primaries, replicas) = self.nodes.split_at(PRIMARIES);
        let has_replica = |node| offsets(node).is_some_and(|(_, replicas)| replicas.len() == 1);
        let is_linked = |node: &RedisServer| {
            let info = node.try_command(&["INFO", "replication"]);
            info.and_then(|info| info.field("master_link_status"))
                .as_deref()
                == Some("up")
        };
        primaries.iter().all(has_replica)
            && replicas.iter().all(is_linked)
            && self.nodes.iter().all(|node| {
                cluster_state(node).as_deref() == Some("ok")
                    && count_replicated_ranges(node) == PRIMARIES
            })
    }

    fn agreed_owner(&self, slot: u16) -> Option<&RedisServer> {
        let mut owners = self
            .nodes
            .iter()
            .filter_map(|node| owner_port_by(node, slot));
        let first = owners.next()?;
        let agree = owners.all(|owner| owner == first);
        self.nodes
            .iter()
            .find(|node| agree && i64::from(node.address().port()) == first)
    }
}

impl Migration<'_> {
    /// Moves the keys that are in the slot at the time of the call.
    #[track_caller]
    pub fn move_keys(&self) {
        let (slot, to) = (self.slot.to_string(), self.to.address());
        let keys = self
            .from
            .command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10000"]);
        for key in keys.items() {
            let (host, port) = (to.ip().to_string(), to.port().to_string());
            let moved = self
                .from
                .command(&["MIGRATE", &host, &port, &key.text(), "0", "5000"]);
            assert!(
                matches!(&moved, Reply::Status(status) if status == "OK" || status == "NOKEY"),
                "{moved:?}"
            );
        }
    }

    /// Moves the remaining keys, assigns the slot to the other node, and returns after all nodes
    /// know the new owner.
    #[track_caller]
    pub fn end(self) {
        until("all keys of the slot are moved", || {
            self.move_keys();
            let count = self
                .from
                .command(&["CLUSTER", "COUNTKEYSINSLOT", &self.slot.to_string()]);
            count == Reply::Integer(0)
        });
        let to = node_id(self.to);
        for node in [self.to, self.from] {
            let set = node.command(&["CLUSTER", "SETSLOT", &self.slot.to_string(), "NODE", &to]);
            assert_eq!(set, Reply::ok());
        }
        until("all nodes know the new owner", || {
            let owner = self.cluster.agreed_owner(self.slot);
            owner.is_some_and(|owner| owner.address() == self.to.address())
        });
    }
}

/// Ages the data of every primary. The replicas get the changed data by replication.
impl Elapse for RedisCluster {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.primaries().iter().for_each(|node| node.age(time));
        Box::pin(ready(()))
    }
}

fn node_role(bus: &Port) -> Role {
    let bus = bus.address().port().to_string();
    let mut all = options(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    all.extend(options(&NODE_OPTIONS));
    Role::Server(all)
}

/// The options of a node in short tests. A node is down after 1 s, and a replica can always be
/// elected. The other slots are served while a node is down, and replication starts without a
/// delay.
const NODE_OPTIONS: [&str; 12] = [
    "--cluster-node-timeout",
    "1000",
    "--cluster-replica-validity-factor",
    "0",
    "--cluster-require-full-coverage",
    "no",
    "--cluster-allow-replica-migration",
    "no",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
];

fn node_id(node: &RedisServer) -> String {
    node.command(&["CLUSTER", "MYID"]).text()
}

fn count_known_nodes(node: &RedisServer) -> usize {
    let nodes = node.command(&["CLUSTER", "NODES"]).text();
    nodes
        .lines()
        .filter(|line| !line.contains("handshake") && line.contains(" connected"))
        .count()
}

/// Returns the state of the cluster as a node sees it, such as `ok`; `None` if the node does not
/// reply.
fn cluster_state(node: &RedisServer) -> Option<String> {
    node.try_command(&["CLUSTER", "INFO"])?
        .field("cluster_state")
}

/// Returns the number of slot ranges with a replica, as a node sees them. Such a range has four
/// items: its first and its last slot, the primary, and the replica.
fn count_replicated_ranges(node: &RedisServer) -> usize {
    let slots = node.command(&["CLUSTER", "SLOTS"]);
    slots
        .items()
        .iter()
        .filter(|range| range.items().len() == 4)
        .count()
}

/// Returns the port of the owner of a slot, as a node sees it; `None` if the node does not reply.
fn owner_port_by(node: &RedisServer, slot: u16) -> Option<i64> {
    let slots = node.try_command(&["CLUSTER", "SLOTS"])?;
    let contains_slot = |range: &&Reply| match range.items() {
        [Reply::Integer(first), Reply::Integer(last), ..] => {
            (*first..=*last).contains(&i64::from(slot))
        }
        _ => false,
    };
    match slots
        .items()
        .iter()
        .find(contains_slot)?
        .items()
        .get(2)?
        .items()
    {
        [_, Reply::Integer(port), ..] => Some(*port),
        _ => None,
    }
}
