//! The nodes of a Redis Cluster: one [`Connection`] to each that has slots, and a map of who has which.
//!
//! The cluster connection of the redis crate is not used: while it learns the map anew it holds all
//! calls up, those for nodes that are well included, and after its retries nobody can tell a call that
//! was not sent from one that may have had an effect.
//!
//! The map is learned anew, in a task that all callers share, when a node sends a call elsewhere, is
//! lost, silent or not reached. Until then calls follow what nodes tell them.

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

/// Nodes that are asked first, and how to speak to all.
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
    seeds: Arc<SeedNodes>,
    shown: String,
    known: Mutex<Topology>,
}

/// What is known of a cluster.
#[derive(Default)]
struct Topology {
    map: Arc<SlotMap>,
    connections: HashMap<Address, Connection>,
    /// The map is being learned.
    learning: Option<Learning>,
    /// When it was learned last, or why it could not be.
    learned: Option<(Instant, Learned)>,
}

type Learned = Result<(), Arc<str>>;
type Learning = Shared<BoxFuture<'static, Learned>>;

pub(super) const PORT: u16 = 6379;
pub(super) const FORM: &str = "redis+cluster://[[user]:password@]host[:port][,host[:port]…]";

/// How long a node may take to tell the map.
const SLOTS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long others are waited for once one has told it.
const GRACE: Duration = Duration::from_millis(50);
/// So many nodes are asked for it.
const MAX_NODES_ASKED: usize = 8;
/// What was learned so recently is not asked again.
const MIN_LEARN_INTERVAL: Duration = Duration::from_millis(50);
/// The pause of a call that waits for the cluster.
const PAUSE: Duration = Duration::from_millis(25);

impl SeedNodes {
    /// As a URL has it. An error says what is wrong with it.
    pub(super) fn new(url: ListUrl) -> Result<Self, String> {
        if !url.query.is_empty() {
            return Err(String::from("there are no parameters"));
        }
        match url.path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["" | "0"] => Ok(Self {
                login: url.login,
                addresses: url.addresses,
            }),
            _ => Err(String::from("a cluster has no databases but 0")),
        }
    }
}

impl Cluster {
    /// A cluster that is looked up with the first call.
    pub(super) fn new(seeds: Arc<SeedNodes>, shown: String) -> Self {
        Self {
            inner: Arc::new(ClusterState {
                seeds,
                shown,
                known: Mutex::default(),
            }),
        }
    }

    /// The same nodes over connections of its own.
    pub(super) fn with_own_connections(&self) -> Self {
        let ClusterState { seeds, shown, .. } = &*self.inner;
        let another = Self::new(Arc::clone(seeds), shown.clone());
        another.inner.topology().map = Arc::clone(&self.inner.topology().map);
        another
    }

    /// A way to every node that has slots; none while some slots are without a node.
    pub(super) async fn primaries(&self, deadline: Instant) -> Result<Vec<Server>, Failure> {
        let map = self.complete_map(deadline).await?;
        let server = |address: Address| Server {
            connection: self.connection(&address),
            address: Some(address.to_string()),
        };
        Ok(map.primaries().into_iter().map(server).collect())
    }

    /// The node that has this key, as far as is known.
    pub(super) fn address_of(&self, key: &str) -> Option<String> {
        self.owner(HashSlot::of(key))
            .map(|address| address.to_string())
    }

    /// Asks the node that has this key.
    pub(super) async fn call(
        &self,
        key: &str,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let mut tour = self.tour(key, deadline, WhenDisconnected::Fail);
        loop {
            let stop = tour.next().await?;
            let answer = stop.call(command, deadline).await;
            if let Some(end) = tour.classify(&stop, answer).await {
                return end;
            }
        }
    }

    /// The way of a call to the node that has this key.
    pub(super) fn tour(
        &self,
        key: &str,
        deadline: Instant,
        patience: WhenDisconnected,
    ) -> ClusterCall<'_> {
        ClusterCall::new(self, HashSlot::of(key), deadline, patience)
    }

    /// The address of whoever has the slot, as far as is known.
    fn owner(&self, slot: HashSlot) -> Option<Address> {
        self.inner.topology().map.owner(slot).cloned()
    }

    fn connection(&self, address: &Address) -> Connection {
        self.inner.wire(address)
    }

    /// The map, once every slot has a node.
    async fn complete_map(&self, deadline: Instant) -> Result<Arc<SlotMap>, Failure> {
        loop {
            self.learn()
                .await
                .map_err(|why| Failure::NotSent(why.to_string()))?;
            let map = Arc::clone(&self.inner.topology().map);
            match map.missing() {
                0 => return Ok(map),
                missing if Instant::now() + MIN_LEARN_INTERVAL >= deadline => {
                    return Err(Failure::NotSent(format!(
                        "{missing} slots of the cluster have no node"
                    )));
                }
                _ => sleep(MIN_LEARN_INTERVAL).await,
            }
        }
    }

    /// Learns the map anew, unless that has just been done, or tried.
    async fn learn(&self) -> Learned {
        self.begin_to_learn().await
    }

    /// Learns in a task of its own, which no caller that loses patience cancels, and which goes on if
    /// nobody waits for it.
    fn begin_to_learn(&self) -> Learning {
        let mut known = self.inner.topology();
        if let Some(learning) = &known.learning {
            return learning.clone();
        }
        if let Some((_, learned)) = known
            .learned
            .as_ref()
            .filter(|(at, _)| at.elapsed() < MIN_LEARN_INTERVAL)
        {
            return ready(learned.clone()).boxed().shared();
        }
        let (inner, told) = (Arc::clone(&self.inner), Arc::clone(&self.inner));
        let task = tokio::spawn(async move {
            let learned = inner.query_nodes().await;
            inner.settle(learned)
        });
        // The task is lost with its runtime; the next may be in another.
        let joined = task
            .map(move |joined| joined.unwrap_or_else(|lost| told.settle(Err(lost.to_string()))));
        let learning = joined.boxed().shared();
        known.learning = Some(learning.clone());
        learning
    }
}

impl ClusterState {
    fn topology(&self) -> MutexGuard<'_, Topology> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire(&self, address: &Address) -> Connection {
        let mut known = self.topology();
        if let Some(wire) = known.connections.get(address) {
            return wire.clone();
        }
        let client = address.client(self.seeds.login.settings());
        let shown = format!("{} at {address}", self.shown);
        let wire = Connection::new(ConnectionTarget::Server(client), shown);
        known.connections.insert(address.clone(), wire.clone());
        wire
    }

    /// Asks the nodes that are known to have slots; where none answers all others, too.
    async fn query_nodes(&self) -> Result<SlotMap, String> {
        let map = Arc::clone(&self.topology().map);
        let primaries: Vec<_> = map
            .primaries()
            .sample(&mut rand::rng(), MAX_NODES_ASKED)
            .cloned()
            .collect();
        match self.newest(&primaries).await {
            Ok(map) => Ok(map),
            Err(_) => {
                let others = map
                    .replicas()
                    .iter()
                    .chain(&self.seeds.addresses)
                    .cloned()
                    .collect::<Vec<_>>();
                self.newest(&others).await
            }
        }
    }

    /// The newest map that these nodes tell. Once one has told it, the others have a moment more, so
    /// that one that hangs does not hold the map up.
    async fn newest(&self, nodes: &[Address]) -> Result<SlotMap, String> {
        let mut asked: FuturesUnordered<_> = nodes.iter().map(|node| self.ask(node)).collect();
        let (mut newest, mut why): (Option<(NodeView, SlotMap)>, _) =
            (None, String::from("no node is known"));
        let mut patience = SLOTS_TIMEOUT * 2;
        while let Ok(Some(told)) = timeout(patience, asked.next()).await {
            match told {
                Ok(told) if newest.as_ref().is_none_or(|newest| newest.0 < told.0) => {
                    newest = Some(told);
                }
                Ok(_) => {}
                Err(error) => why = error,
            }
            if newest.is_some() {
                patience = GRACE;
            }
        }
        newest.map(|(_, map)| map).ok_or(why)
    }

    async fn ask(&self, node: &Address) -> Result<(NodeView, SlotMap), String> {
        let (wire, deadline) = (self.wire(node), Instant::now() + SLOTS_TIMEOUT);
        let ask = async |what| {
            let mut command = redis::cmd("CLUSTER");
            command.arg(what);
            wire.call(&command, deadline, WhenDisconnected::Fail)
                .await
                .map_err(|failure| failure.to_string())
        };
        let (info, slots) = (ask("INFO").await?, ask("SLOTS").await?);
        let told = NodeView::parse(&info).zip(SlotMap::parse(&slots, node));
        told.ok_or_else(|| {
            format!("{node} tells of no slots that are served; is it a node of a cluster?")
        })
    }

    /// Notes what was learned.
    fn settle(&self, learned: Result<SlotMap, String>) -> Learned {
        let mut known = self.topology();
        let learned = learned.map(|map| known.install(map)).map_err(Arc::from);
        known.learning = None;
        known.learned = Some((Instant::now(), learned.clone()));
        learned
    }
}

impl Topology {
    /// Goes by another map. Nodes that have no slots any more are let go.
    fn install(&mut self, map: SlotMap) {
        if *self.map != map {
            let primaries = map.primaries();
            tracing::debug!(
                nodes = primaries.len(),
                "the map of the cluster has changed"
            );
            self.connections
                .retain(|address, _| primaries.binary_search(address).is_ok());
            self.map = Arc::new(map);
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.inner.shown).finish()
    }
}
