//! A store on Redis 7 or newer, which all instances of a service share.
//!
//! The Redis can be one server, the primary of several servers (Sentinel), or a Redis Cluster.
//! [`RedisConfig::new`] lists the URLs.
//!
//! Every operation is one script. Redis runs the script as one atomic step, with its own clock.
//! Only operations on several slots of a cluster are [several steps](#on-a-cluster). One script
//! decides the limits of a request together with the record of its idempotency key. So a request
//! with a new key takes one round trip before its handler and one round trip after it. A replay
//! takes one round trip. If a body is over 64 KiB or of unknown length, it is read after the limits
//! and before the record. The limits and the record then take two round trips.
//!
//! Keys have the form `ap1:<namespace>:{<owner>}:<kind>:<name>`. Callers, addresses, tenants and
//! idempotency keys are hashed. Every value begins with a format byte, except the lists of sliding
//! windows. The hashes need no secret, so they are only pseudonyms. A person who can read the store
//! can test a guess, and can find an address by trying all addresses. Protect the store with a
//! password and on the network.
//!
//! | entry | key ends in | value | expires |
//! |---|---|---|---|
//! | record of an idempotency key | `i:<name>` | state, token, fingerprint; the response, [encrypted](crate::policies::idempotency#encryption-at-rest) or in plain form | after its time to live; while RUNNING, one lease later |
//! | marker of an aborted run, which stops a late `begin` of the run | `a:<token>` | | after a lease, or after 30 s |
//! | bucket of a rate limit | `l:<limit>` | the time at which the bucket is full, or the end and the used tokens of a window; for a sliding window a list of times | when the bucket was unused for as long as it takes to refill |
//! | secret, if `APLOMB_SECRET` is not set | `secret`, without an owner | 32 bytes | never |
//!
//! # When Redis fails
//!
//! All calls to a server share one connection. A second connection renews leases. A lost connection
//! is replaced by a new one. An operation takes at most one second ([`RedisConfig::with_timeout`]),
//! and a renewal of leases at most a third of the lease. If the connection is lost during an
//! operation, the operation is sent again over the next connection. A record has a token, which
//! makes this harmless. A limit may count the request twice.
//!
//! After a failed attempt to connect, new requests fail immediately, and the results of finished
//! requests wait for the next attempt. While Redis is down, an idempotent request gets a 503 and
//! its handler does not run.
//!
//! Redis responds before it has written the copies on disk and on replicas. A crash can lose the
//! last seconds with `appendonly yes` and `appendfsync everysec`. A [fail-over](#fail-over) can
//! lose the writes that the replica had not received. A key whose record is lost is new, so a retry
//! has a second effect. If the first run is still active, a retry can start a second run, until the
//! first run completes and writes the record again. With `appendfsync always` a crash loses no
//! confirmed write. Only a store that shares a transaction with the business data can guarantee
//! exactly one effect.
//!
//! A process that dies while Redis does not respond can leave a key UNKNOWN although its request
//! was refused and no handler ran. A short outage, which ends within a lease, can have the same
//! effect for a moment.
//!
//! # The secret
//!
//! The secret signs cursors, and nothing else depends on it. If `APLOMB_SECRET` is not set, an
//! instance reads the secret from the store at start, or creates it there, in one atomic step. The
//! instance uses this secret until it stops. If the store loses or evicts the secret, instances
//! that start later create another one. Until all instances have restarted, an instance refuses the
//! cursors that were signed with the other secret (400 `INVALID_CURSOR`).
//! [`Api::previous_secret`](crate::Api::previous_secret) describes how to change the secret.
//!
//! # Fail-over
//!
//! With sentinels, the primary is looked up for every new connection. The sentinels are asked one
//! after the other, for a third of a second each. The look-up ends when the named server confirms
//! that it is the primary. A new connection is made in three cases: the current connection is lost,
//! its server has become a replica, or most sentinels name another server. The sentinels are asked
//! for the primary four times a second.
//!
//! On a cluster, an instance asks the other nodes for the owners of all slots when a node is lost,
//! is silent, or redirects a call.
//!
//! Until another server has replaced a failed one, the operations that need the failed server fail
//! as if Redis were down. On a cluster only the operations on its slots fail, unless the cluster
//! has `cluster-require-full-coverage yes`. In that case a warning is logged at start. After three
//! failures in a row, on any node, each instance decides rate limits on its own.
//!
//! **A fail-over loses the writes that the new primary had not received.** These are the last
//! writes before the failure. If the old primary was cut off from its replicas but not from its
//! clients, the lost writes are all writes after the cut, until the clients have left the old
//! primary. Records that had reached the new primary are kept, and their keys do not run twice.
//!
//! With `min-replicas-to-write 1` and `min-replicas-max-lag 10`, a primary that has heard from no
//! replica for ten seconds refuses writes. Idempotent requests then get a 503, and each instance
//! decides limits on its own. So for at most ten seconds, the primary accepts writes that will be
//! lost. The loss becomes smaller, but never zero, because the primary confirms a write before a
//! replica has it.
//!
//! # On a cluster
//!
//! All keys of one caller are in one slot, which is enough for most requests. The records of
//! requests without a caller (`idempotent(anonymous)`) are spread over all slots, each by its own
//! hash.
//!
//! Calls follow `MOVED` and `ASK`. While a slot is migrating and its keys are on two nodes
//! (`TRYAGAIN`), calls wait until their deadline. If the migration takes longer, new idempotency
//! keys of that slot get a 503 until it ends. Nodes must be reachable at the addresses that they
//! announce (`cluster-announce-ip` and `-hostname`).
//!
//! **Limits in several slots**, such as one by caller and one for everyone, are decided by one
//! script per slot, all at the same time. If one slot rejects or fails, the tokens of the other
//! slots are given back. Until then, another request may be rejected too early, but no request is
//! admitted wrongly. If the process or a node dies before the tokens are given back, they stay
//! taken until the bucket refills. A shadow limit whose node fails counts as exhausted, and rejects
//! nothing.
//!
//! **Leases** are renewed by one call per slot, so a failed node affects only its own leases.
//!
//! # Permissions of the Redis user
//!
//! - For the keys `ap1:*`: `info`, `ping`, `eval`, `evalsha`, `get`, `mget`, `getrange`, `set`,
//!   `psetex`, `del`, `pttl`, `pexpire`, `time`
//! - For sliding windows: `llen`, `lindex`, `lrange`, `lrem`, `ltrim`, `rpush`
//! - If the URL names a database: `select`
//! - With sentinels: `role`; on password-protected sentinels `ping` and
//!   `sentinel|get-master-addr-by-name`
//! - On every node of a cluster: `cluster|info`, `cluster|slots` and, during migrations, `asking`
//! - For the warnings at start: `config|get`
//!
//! TLS is not supported yet.

mod admit;
mod cluster;
pub(crate) mod codec;
mod config;
mod connection;
mod connection_state;
mod describe_error;
mod groups;
mod hash_slot;
mod inspect;
mod keys;
mod limits;
mod link;
mod open;
mod records;
mod script;
mod sentinel;
mod url;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

pub use self::config::RedisConfig;
pub(crate) use self::config::accepts_eviction;
use self::keys::Keys;
use self::link::NodeLink;
use self::script::Scripts;
use crate::secret::Secret;
use crate::start::StartErrors;
use crate::store::is_namespace;

/// A connected store on Redis, which implements all facets. Clones share the connections.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<StoreInner>,
    link: NodeLink,
}

struct StoreInner {
    keys: Keys,
    scripts: Scripts,
    timeout: Duration,
}

impl RedisStore {
    /// Connects to the servers, checks them, and runs every script once.
    ///
    /// An API with [`Store::redis`](crate::store::Store::redis) does this at start. `namespace` is
    /// the name of the API ([`Api::new`](crate::Api::new)), `[a-z0-9-]{1,64}`.
    ///
    /// # Errors
    ///
    /// Returns all problems of the server, or of all nodes with slots in a cluster. A problem is,
    /// for example, a server that does not respond, demands a password, is too old, is a replica,
    /// is of another kind than the URL, or evicts records.
    pub async fn connect(config: &RedisConfig, namespace: &str) -> Result<Self, StartErrors> {
        if !is_namespace(namespace) {
            return Err(config
                .error(format_args!(
                    "the namespace {namespace:?} is invalid; expected [a-z0-9-]{{1,64}}"
                ))
                .into());
        }
        Self::with_link(open::open(config).await?, config, namespace).await
    }

    /// Connects, and reads or creates the shared secret on the server if `secret` is `None`.
    pub(crate) async fn connect_with(
        config: &RedisConfig,
        namespace: &str,
        secret: Option<Secret>,
    ) -> Result<(Self, Secret), StartErrors> {
        let link = open::open(config).await?;
        let secret = match secret {
            Some(secret) => secret,
            None => open::shared_secret(&link, config, namespace).await?,
        };
        Ok((Self::with_link(link, config, namespace).await?, secret))
    }

    async fn with_link(
        link: NodeLink,
        config: &RedisConfig,
        namespace: &str,
    ) -> Result<Self, StartErrors> {
        let store = |timeout| Self {
            inner: Arc::new(StoreInner {
                keys: Keys::new(namespace),
                scripts: Scripts::new(),
                timeout,
            }),
            link: link.clone(),
        };
        // If many instances start together, the server responds slowly. So the self-test has a
        // longer timeout than requests.
        open::self_test(&store(config.timeout().max(open::OPEN_TIMEOUT)), config).await?;
        Ok(store(config.timeout()))
    }
}

/// For tests: returns a store whose limits read the time from two keys of the server. The keys
/// contain seconds and microseconds in the form of `TIME`.
#[doc(hidden)]
impl RedisStore {
    #[must_use]
    pub fn __timed_by(&self, seconds: &str, micros: &str) -> Self {
        let StoreInner { keys, timeout, .. } = &*self.inner;
        let scripts = Scripts::timed_by(seconds, micros);
        Self {
            inner: Arc::new(StoreInner {
                keys: keys.clone(),
                scripts,
                timeout: *timeout,
            }),
            link: self.link.clone(),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
