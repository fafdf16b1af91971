//! The nodes of a Redis Cluster: one [`Connection`] to each node with slots, and a map of the
//! owners of all slots.
//!
//! The cluster connection of the redis crate is not used for two reasons. While it refreshes its
//! map, it delays all calls, also those to healthy nodes. After its own retries, a call that was
//! not sent cannot be distinguished from a call that may have had an effect.
//!
//! The map is refreshed when a node redirects a call, is lost, is silent or cannot be reached. One
//! task refreshes it for all callers. In the meantime calls follow the redirects of the nodes.

mod cluster_call;
mod slot_map;

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::seq::IndexedRandom;
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep, timeout};

pub(super) use self::cluster_call::ClusterCall;
use self::slot_map::{NodeView, SlotMap};
use super::connection::{Connection, ConnectionTarget};
use super::hash_slot::HashSlot;
use super::link::{Failure, Server, WhenDisconnected};
use super::url::{Address, ListUrl, Login};

/// The nodes in the URL of a cluster, and the login for all nodes. The first map is read from these
/// nodes.
#[derive(Debug)]
pub(super) struct SeedNodes {
    login: Login,
    addresses: Vec<Address>,
}

/// The nodes of a cluster. Clones share the connections.
#[derive(Clone)]
pub(super) struct Cluster {
    inner: Arc<ClusterState>,
}

struct ClusterState {
    seed_nodes: Arc<SeedNodes>,
    /// The name of the cluster in messages.
    display_name: String,
    topology: Mutex<Topology>,
}

/// The current information about a cluster.
#[derive(Default)]
struct Topology {
    map: Arc<SlotMap>,
    connections: HashMap<Address, Connection>,
    /// The running refresh of the map.
    refresh: Option<Refresh>,
    /// The time and the result of the last refresh.
    last_refresh: Option<(Instant, RefreshResult)>,
}

type RefreshResult = Result<(), Arc<str>>;
/// A refresh of the map, which several callers can await.
type Refresh = Shared<BoxFuture<'static, RefreshResult>>;

pub(super) const PORT: u16 = 6379;
pub(super) const FORM: &str = "redis+cluster://[[user]:password@]host[:port][,host[:port]…]";

/// The time that a node may take to return its map.
const SLOTS_TIMEOUT: Duration = Duration::from_secs(1);
/// The time that other nodes have to return a newer map after the first node has replied.
const OTHER_NODES_TIMEOUT: Duration = Duration::from_millis(50);
/// The number of nodes that are asked for the map. It limits the load of a refresh in a large
/// cluster.
const MAX_NODES_ASKED: usize = 8;
/// A map that is younger than this is not refreshed again, so that many failing calls cause few
/// refreshes.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_millis(50);
/// The pause between two attempts of a call that waits for the cluster.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

impl SeedNodes {
    /// Creates the seed nodes that a URL names. The error says what is wrong with the URL.
    pub(super) fn new(url: ListUrl) -> Result<Self, String> {
        if !url.query.is_empty() {
            return Err(String::from(
                "the URL of a cluster must not have parameters: remove `?` and the text after it",
            ));
        }
        match url.path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["" | "0"] => Ok(Self {
                login: url.login,
                addresses: url.addresses,
            }),
            _ => Err(String::from("a cluster has only the database 0")),
        }
    }
}

impl Cluster {
    /// Creates a cluster whose map is read with the first call.
    pub(super) fn new(seed_nodes: Arc<SeedNodes>, display_name: String) -> Self {
        Self {
            inner: Arc::new(ClusterState {
                seed_nodes,
                display_name,
                topology: Mutex::default(),
            }),
        }
    }

    /// Returns a copy of the cluster that opens separate connections.
    pub(super) fn with_own_connections(&self) -> Self {
        let ClusterState {
            seed_nodes,
            display_name,
            ..
        } = &*self.inner;
        let copy = Self::new(Arc::clone(seed_nodes), display_name.clone());
        copy.inner.topology().map = Arc::clone(&self.inner.topology().map);
        copy
    }

    /// Returns all nodes with slots. Fails if some slots have no node.
    pub(super) async fn primaries(&self, deadline: Instant) -> Result<Vec<Server>, Failure> {
        let map = self.complete_map(deadline).await?;
        let server = |address: Address| Server {
            connection: self.connection(&address),
            address: Some(address.to_string()),
        };
        Ok(map.primaries().into_iter().map(server).collect())
    }

    /// Returns the address of the node with this key, according to the current map.
    pub(super) fn address_of(&self, key: &str) -> Option<String> {
        self.owner(HashSlot::of(key))
            .map(|address| address.to_string())
    }

    /// Sends a command to the node with this key.
    pub(super) async fn call(
        &self,
        key: &str,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let mut call = self.start_call(key, deadline, WhenDisconnected::Fail);
        loop {
            let hop = call.next_hop().await?;
            let result = hop.call(command, deadline).await;
            if let Some(end) = call.finish_hop(&hop, result).await {
                return end;
            }
        }
    }

    /// Starts a call to the node with this key.
    pub(super) fn start_call(
        &self,
        key: &str,
        deadline: Instant,
        when_disconnected: WhenDisconnected,
    ) -> ClusterCall<'_> {
        ClusterCall::new(self, HashSlot::of(key), deadline, when_disconnected)
    }

    /// Returns the owner of a slot, according to the current map.
    fn owner(&self, slot: HashSlot) -> Option<Address> {
        self.inner.topology().map.owner(slot).cloned()
    }

    fn connection(&self, address: &Address) -> Connection {
        self.inner.connection(address)
    }

    /// Waits until every slot has a node, and returns the map.
    async fn complete_map(&self, deadline: Instant) -> Result<Arc<SlotMap>, Failure> {
        loop {
            self.refresh()
                .await
                .map_err(|reason| Failure::NotSent(reason.to_string()))?;
            let map = Arc::clone(&self.inner.topology().map);
            match map.missing() {
                0 => return Ok(map),
                missing if Instant::now() + MIN_REFRESH_INTERVAL >= deadline => {
                    return Err(Failure::NotSent(format!(
                        "{missing} slots of the cluster have no node"
                    )));
                }
                _ => sleep(MIN_REFRESH_INTERVAL).await,
            }
        }
    }

    /// Refreshes the map, unless the last refresh has just ended.
    async fn refresh(&self) -> RefreshResult {
        self.begin_refresh().await
    }

    /// Begins a refresh, or joins the running one.
    ///
    /// The refresh runs in its own task. A caller whose deadline passes does not cancel the
    /// refresh, and the refresh runs even if no caller waits for it.
    fn begin_refresh(&self) -> Refresh {
        let mut topology = self.inner.topology();
        if let Some(refresh) = &topology.refresh {
            return refresh.clone();
        }
        if let Some((_, result)) = topology
            .last_refresh
            .as_ref()
            .filter(|(at, _)| at.elapsed() < MIN_REFRESH_INTERVAL)
        {
            return ready(result.clone()).boxed().shared();
        }
        let (inner, for_lost_task) = (Arc::clone(&self.inner), Arc::clone(&self.inner));
        // The lock is held until `refresh` is set. Otherwise a fast task could settle first, and
        // the finished refresh would never be cleared.
        let task = tokio::spawn(async move {
            let map = inner.query_nodes().await;
            inner.settle(map)
        });
        // If the runtime of the task ends, the refresh fails. The next refresh may run in another
        // runtime.
        let joined = task.map(move |joined| {
            joined.unwrap_or_else(|lost| for_lost_task.settle(Err(lost.to_string())))
        });
        let refresh = joined.boxed().shared();
        topology.refresh = Some(refresh.clone());
        refresh
    }
}

impl ClusterState {
    fn topology(&self) -> MutexGuard<'_, Topology> {
        self.topology.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection to a node, and creates it if necessary.
    fn connection(&self, address: &Address) -> Connection {
        let mut topology = self.topology();
        if let Some(connection) = topology.connections.get(address) {
            return connection.clone();
        }
        let client = address.client(self.seed_nodes.login.settings());
        let display_name = format!("{} at {address}", self.display_name);
        let connection = Connection::new(ConnectionTarget::Server(client), display_name);
        topology
            .connections
            .insert(address.clone(), connection.clone());
        connection
    }

    /// Asks the primaries for the map. If no primary replies, asks the replicas and the seed nodes.
    async fn query_nodes(&self) -> Result<SlotMap, String> {
        let map = Arc::clone(&self.topology().map);
        let primaries: Vec<_> = map
            .primaries()
            .sample(&mut rand::rng(), MAX_NODES_ASKED)
            .cloned()
            .collect();
        match self.newest_map(&primaries).await {
            Ok(map) => Ok(map),
            Err(_) => {
                let others = map
                    .replicas()
                    .iter()
                    .chain(&self.seed_nodes.addresses)
                    .cloned()
                    .collect::<Vec<_>>();
                self.newest_map(&others).await
            }
        }
    }

    /// Returns the newest map of these nodes. After the first reply, the other nodes have only a
    /// short time to reply, so that a node that hangs does not delay the refresh.
    async fn newest_map(&self, nodes: &[Address]) -> Result<SlotMap, String> {
        let mut replies: FuturesUnordered<_> = nodes.iter().map(|node| self.ask(node)).collect();
        let (mut newest, mut reason): (Option<(NodeView, SlotMap)>, _) =
            (None, String::from("no node is known"));
        let mut max_wait = SLOTS_TIMEOUT * 2;
        while let Ok(Some(reply)) = timeout(max_wait, replies.next()).await {
            match reply {
                Ok(reply) if newest.as_ref().is_none_or(|newest| newest.0 < reply.0) => {
                    newest = Some(reply);
                }
                Ok(_) => {}
                Err(error) => reason = error,
            }
            if newest.is_some() {
                max_wait = OTHER_NODES_TIMEOUT;
            }
        }
        newest.map(|(_, map)| map).ok_or(reason)
    }

    /// Asks one node for its map.
    async fn ask(&self, node: &Address) -> Result<(NodeView, SlotMap), String> {
        let (connection, deadline) = (self.connection(node), Instant::now() + SLOTS_TIMEOUT);
        let call = async |subcommand| {
            let mut command = redis::cmd("CLUSTER");
            command.arg(subcommand);
            connection
                .call(&command, deadline, WhenDisconnected::Fail)
                .await
                .map_err(|failure| failure.to_string())
        };
        let (info, slots) = (call("INFO").await?, call("SLOTS").await?);
        NodeView::parse(&info)
            .zip(SlotMap::parse(&slots, node))
            .ok_or_else(|| format!("{node} reports no served slots; is it a node of a cluster?"))
    }

    /// Records the result of a refresh.
    fn settle(&self, map: Result<SlotMap, String>) -> RefreshResult {
        let mut topology = self.topology();
        let result = map.map(|map| topology.install(map)).map_err(Arc::from);
        topology.refresh = None;
        topology.last_refresh = Some((Instant::now(), result.clone()));
        result
    }
}

impl Topology {
    /// Replaces the map, and drops the connections to nodes without slots.
    fn install(&mut self, map: SlotMap) {
        if *self.map != map {
            let primaries = map.primaries();
            tracing::debug!(
                nodes = primaries.len(),
                "the slot map of the cluster has changed"
            );
            self.connections
                .retain(|address, _| primaries.binary_search(address).is_ok());
            self.map = Arc::new(map);
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster")
            .field(&self.inner.display_name)
            .finish()
    }
}
