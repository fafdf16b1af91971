use core::time::Duration;
use std::net::SocketAddr;

use futures_util::future::{BoxFuture, ready};

use super::group::{offsets, options, start_all, until, until_replicated};
use super::process::Role;
use super::{Port, RedisServer, Reply};
use crate::testing::Elapse;

/// A Redis Cluster of three primaries, each with a replica: six processes, each as [`RedisServer`] is
/// one.
///
/// Nodes take one another for down after a second. Methods block the thread, for up to a minute
/// where nodes do not do what they should, and then panic.
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

/// Slots that are on their way from one node to another. Clients are sent to and fro until it ends.
#[derive(Debug)]
#[must_use = "a migration that has begun must end"]
pub struct Migration<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

impl RedisCluster {
    /// Starts all nodes, and returns once they know one another, serve every slot, and replicas have
    /// what primaries have.
    ///
    /// # Panics
    ///
    /// Where `redis-server` is not on the `PATH`, or one does not come up.
    #[track_caller]
    pub fn start() -> Self {
        let buses: Vec<_> = (0..2 * PRIMARIES).map(|_| Port::free()).collect();
        let cluster = Self {
            nodes: start_all(buses.iter().map(node).collect()),
            buses,
        };
        cluster.introduce();
        cluster.assign_slots();
        until("all nodes know all nodes", || {
            cluster
                .nodes
                .iter()
                .all(|node| count_known(node) == 2 * PRIMARIES)
        });
        cluster.assign_replicas();
        until("the cluster serves every slot", || cluster.is_ready());
        cluster
    }

    /// Its URL: `redis+cluster://127.0.0.1:<port>,…` of three nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes[..PRIMARIES]
            .iter()
            .map(|node| node.address().to_string())
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// All nodes. At first those that have slots come first.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot_of(&self, key: &str) -> u16 {
        let asked = self
            .nodes
            .iter()
            .find_map(|node| node.try_command(&["CLUSTER", "KEYSLOT", key]));
        match asked {
            Some(Reply::Integer(slot)) => u16::try_from(slot).expect("a slot"),
            other => panic!("no slot of a key: {other:?}"),
        }
    }

    /// The node that has a slot, as all that answer agree.
    #[track_caller]
    pub fn owner(&self, slot: u16) -> &RedisServer {
        let mut owner = None;
        until("the nodes agree on the owner of a slot", || {
            owner = self.agreed_owner(slot);
            owner.is_some()
        });
        owner.expect("they agree")
    }

    /// The nodes that have slots, as one that answers tells.
    #[track_caller]
    pub fn primaries(&self) -> Vec<&RedisServer> {
        let all = self.nodes.iter().filter(|node| node.answers());
        all.filter(|node| offsets(node).is_some()).collect()
    }

    /// Waits until the replica of a slot's owner has all that the owner has by now.
    #[track_caller]
    pub fn until_replicated(&self, slot: u16) {
        until_replicated(self.owner(slot), 1);
    }

    /// Waits until another node than this one has a slot, and the cluster serves all of them.
    #[track_caller]
    pub fn until_failed_over(&self, slot: u16, from: SocketAddr) {
        until("another node has the slot", || {
            self.agreed_owner(slot)
                .is_some_and(|owner| owner.address() != from)
                && self
                    .nodes
                    .iter()
                    .all(|node| !node.answers() || state(node).as_deref() == Some("ok"))
        });
    }

    /// Begins to move a slot to another node. From now on its keys are partly here and partly there.
    #[track_caller]
    pub fn begin_migration<'a>(&'a self, slot: u16, to: &'a RedisServer) -> Migration<'a> {
        let from = self.owner(slot);
        let number = slot.to_string();
        let importing = to.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &id(from)]);
        let migrating = from.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &id(to)]);
        assert_eq!((importing, migrating), (Reply::ok(), Reply::ok()));
        Migration {
            cluster: self,
            slot,
            from,
            to,
        }
    }

    /// Moves a slot with all its keys to another node.
    #[track_caller]
    pub fn migrate(&self, slot: u16, to: &RedisServer) {
        self.begin_migration(slot, to).end();
    }

    /// Every node meets every other; each knows its place in the line of epochs, so that none has to
    /// give way first.
    fn introduce(&self) {
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
            let bus = self.bus_of(other).to_string();
            assert_eq!(
                node.command(&["CLUSTER", "MEET", &host, &port, &bus]),
                Reply::ok()
            );
        }
    }

    fn bus_of(&self, node: &RedisServer) -> u16 {
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
            let primary = id(primary);
            until("a replica knows its primary", || {
                replica.try_command(&["CLUSTER", "REPLICATE", &primary]) == Some(Reply::ok())
            });
        }
    }

    fn is_ready(&self) -> bool {
        let (primaries, replicas) = self.nodes.split_at(PRIMARIES);
        let replicated = |node| offsets(node).is_some_and(|(_, replicas)| replicas.len() == 1);
        let linked = |node: &RedisServer| {
            let info = node.try_command(&["INFO", "replication"]);
            info.and_then(|info| info.field("master_link_status"))
                .as_deref()
                == Some("up")
        };
        primaries.iter().all(replicated)
            && replicas.iter().all(linked)
            && self
                .nodes
                .iter()
                .all(|node| state(node).as_deref() == Some("ok") && shards(node) == PRIMARIES)
    }

    fn agreed_owner(&self, slot: u16) -> Option<&RedisServer> {
        let mut owners = self.nodes.iter().filter_map(|node| owner_by(node, slot));
        let first = owners.next()?;
        let agree = owners.all(|owner| owner == first);
        self.nodes
            .iter()
            .find(|node| agree && i64::from(node.address().port()) == first)
    }
}

impl Migration<'_> {
    /// Moves the keys that the slot has by now.
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
                matches!(&moved, Reply::Status(told) if told == "OK" || told == "NOKEY"),
                "{moved:?}"
            );
        }
    }

    /// Moves what is left, and gives the slot to the other node.
    #[track_caller]
    pub fn end(self) {
        until("all keys of the slot are moved", || {
            self.move_keys();
            let count = self
                .from
                .command(&["CLUSTER", "COUNTKEYSINSLOT", &self.slot.to_string()]);
            count == Reply::Integer(0)
        });
        let to = id(self.to);
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

/// Lets time pass on every node that has slots, from where it passes on the replicas.
impl Elapse for RedisCluster {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.primaries().iter().for_each(|node| node.age(time));
        Box::pin(ready(()))
    }
}

fn node(bus: &Port) -> Role {
    let bus = bus.address().port().to_string();
    let mut all = options(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    all.extend(options(&NODE));
    Role::Server(all)
}

/// Nodes that fail over soon, that serve what they have while others fail, and whose replicas are ready
/// as soon as they can be.
const NODE: [&str; 12] = [
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

fn id(node: &RedisServer) -> String {
    node.command(&["CLUSTER", "MYID"]).text()
}

fn count_known(node: &RedisServer) -> usize {
    let nodes = node.command(&["CLUSTER", "NODES"]).text();
    nodes
        .lines()
        .filter(|line| !line.contains("handshake") && line.contains(" connected"))
        .count()
}

/// Whether the cluster works, as a node sees it; `None` where it does not answer.
fn state(node: &RedisServer) -> Option<String> {
    node.try_command(&["CLUSTER", "INFO"])?
        .field("cluster_state")
}

/// How many ranges of slots have a replica, as a node sees it.
fn shards(node: &RedisServer) -> usize {
    let slots = node.command(&["CLUSTER", "SLOTS"]);
    slots
        .items()
        .iter()
        .filter(|range| range.items().len() == 4)
        .count()
}

/// The port of the owner of a slot, as a node sees it; `None` where that does not answer.
fn owner_by(node: &RedisServer, slot: u16) -> Option<i64> {
    let slots = node.try_command(&["CLUSTER", "SLOTS"])?;
    let has = |range: &&Reply| match range.items() {
        [Reply::Integer(first), Reply::Integer(last), ..] => {
            (*first..=*last).contains(&i64::from(slot))
        }
        _ => false,
    };
    match slots.items().iter().find(has)?.items().get(2)?.items() {
        [_, Reply::Integer(port), ..] => Some(*port),
        _ => None,
    }
}
