//! Promises that many instances keep together, on Redis 7 or newer: on one server, on whichever of
//! several is the primary (Sentinel), or on the nodes of a Redis Cluster. [`RedisConfig::new`] has the URLs.
//!
//! Every operation is one script, which Redis runs as one atomic step, by the server's own time; only what
//! needs several slots of a cluster is [several steps](#on-a-cluster). The limits of a request and the record
//! of its key are one script, too: a new key takes a trip before its handler runs and one after, a replay
//! takes one. A body over 64 KiB, or of unknown length, is read between the limits and the record, which
//! then are two.
//! Keys are `ap1:<namespace>:{<whose>}:<what>`, with callers, addresses, tenants and idempotency keys as
//! hashes; every value begins with a format byte, but for the lists of sliding windows. The hashes need no
//! secret. They are pseudonyms: who reads the store can confirm a guess, of an address by trying all. Protect
//! the store by a password and by the network.
//!
//! | what | key ends in | value | expires |
//! |---|---|---|---|
//! | a record of an idempotency key | `i:<name>` | state, token, fingerprint; the answer, [sealed](crate::policies::idempotency#sealed-answers) or in the clear | with its time to live; while it runs, a lease later |
//! | the marker of a run that was given up, which stops its `begin` if that comes late | `a:<token>` | | after a lease, or 30 s |
//! | a bucket of a rate limit | `l:<limit>` | when it is full, or how much of which window is taken; of a sliding window a list of moments | when it was left alone for as long as it takes to refill |
//! | the secret, where `APLOMB_SECRET` is not set | `secret`, which is nobody's | 32 bytes | never |
//!
//! # When Redis fails
//!
//! All calls to a server go over one connection, which is made anew when it is lost; leases are renewed
//! over a second one. An operation takes at most a second ([`RedisConfig::with_timeout`]), a heartbeat a
//! third of the lease; one whose
//! connection is cut is asked again over the next, which its token makes harmless. Once an attempt to
//! connect has failed, what wants to begin fails at once, and what has ended waits for the next
//! attempt.
//! Without Redis an idempotent request is a 503 and its handler does not run.
//!
//! Redis answers before its copies on disk and on replicas are written. A crash can lose the last
//! seconds with `appendonly yes` and `appendfsync everysec`, and a [fail-over](#fail-over) what the
//! replica had not got. A key whose record is lost is new: a retry has a second effect, and a run that was under way
//! is not protected from it until it completes, which writes the record again. With `appendfsync
//! always` a crash loses nothing that was answered; only a store that shares a transaction with the
//! business data can promise effects exactly once.
//!
//! A process that dies while Redis does not answer can leave the key of a request that it had
//! refused UNKNOWN, although nothing ran; so can, for moments, an outage that ends within a lease.
//!
//! # The secret
//!
//! The secret signs cursors, and nothing else depends on it. Where `APLOMB_SECRET` is not set, an instance
//! reads the secret from the store when it starts, or makes it there, in one atomic step, and keeps it for
//! as long as it runs. If the store loses the secret, or evicts it, instances that start later make another
//! one; until all have started again, an instance refuses cursors of those with the other secret (400
//! `INVALID_CURSOR`). [`Api::previous_secret`](crate::Api::previous_secret) says how to change the secret.
//!
//! # Fail-over
//!
//! Behind sentinels the primary is asked for with every connection that is made: one sentinel after the
//! other, a third of a second each, until one names a server that says itself that it is the primary. It
//! is asked for anew when the connection is lost, when the server has become a replica, and when most
//! sentinels name another one, of which they are asked four times a second. On a cluster the node that
//! has a slot is found out from the others when one is lost, silent, or sends a call elsewhere.
//!
//! Until another server has taken the place of one that failed, what needs it fails as without Redis;
//! on a cluster that is only what concerns its slots, unless it was set `cluster-require-full-coverage
//! yes`, of which a warning is written at start. An instance decides limits alone after three failures in a
//! row, though, whichever node they were of.
//!
//! **A fail-over loses what the new primary had not got**: what was written in the moments before, and all
//! that a primary which was cut off from its replicas, and not from its clients, took in until it was
//! left. Records that had reached it are found there, and their keys do not run twice. With
//! `min-replicas-to-write 1` and `min-replicas-max-lag 10` a primary that has heard of no replica for ten
//! seconds refuses writes (a 503, and limits by each instance alone), so that it takes in what will be lost
//! for no longer than that. It makes the loss smaller, and never zero: a write is answered before a replica
//! has it.
//!
//! # On a cluster
//!
//! All of one caller is in one slot, and so is what most requests need. The records of requests without a
//! caller (`idempotent(anonymous)`) are spread over all slots, each by its own hash. Calls follow `MOVED` and `ASK`,
//! and wait, as long as their deadline allows, while a slot is on its way and its keys are partly here and
//! partly there (`TRYAGAIN`); a slot with many keys that takes longer to move refuses new idempotency keys
//! with a 503 until it has arrived. Nodes must be reached at the addresses that they announce
//! (`cluster-announce-ip` and `-hostname`).
//!
//! **Limits in several slots**, such as one by caller and one for everyone, are taken by one script a slot,
//! all at the same time. What one slot admits is given back where another one refuses or fails. Until it
//! is, a request beside it may be refused too early; none is admitted that should not be. Where the
//! process or a node dies in between, the tokens stay taken, and the bucket refills by itself. A shadow
//! limit whose node fails counts as used up, and refuses nothing.
//!
//! **Leases** are renewed by one call a slot, so that a node that fails costs only its own.
//!
//! # What a user needs
//!
//! Under the keys `ap1:*`: `info`, `ping`, `eval`, `evalsha`, `get`, `mget`, `getrange`, `set`, `psetex`,
//! `del`, `pttl`, `pexpire`, `time`, and for sliding windows `llen`, `lindex`, `lrange`, `lrem`, `ltrim`,
//! `rpush`; `select` where the URL names a database; behind sentinels also `role`; on every node of a cluster
//! also `cluster|info`, `cluster|slots` and, while slots move, `asking`; `config|get` for warnings. Of sentinels
//! that demand a password: `ping` and `sentinel|get-master-addr-by-name`. There is no TLS yet.

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

/// The facets of a store on Redis. Clones share its connections.
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
    /// Connects, and looks whether promises can be kept there. An API does this by itself when it
    /// starts ([`Store::redis`](crate::store::Store::redis)); `namespace` is the
    /// name of the API ([`Api::new`](crate::Api::new)), `[a-z0-9-]{1,64}`.
    ///
    /// # Errors
    ///
    /// All that is wrong with the server, or with any node of a cluster that has slots: it does not answer,
    /// demands a password, is too old, a replica, of another kind than the URL says, or evicts records.
    pub async fn connect(config: &RedisConfig, namespace: &str) -> Result<Self, StartErrors> {
        if !is_namespace(namespace) {
            return Err(config
                .error(format_args!(
                    "the namespace {namespace:?} is not [a-z0-9-]{{1,64}}"
                ))
                .into());
        }
        Self::over(open::open(config).await?, config, namespace).await
    }

    /// The same, with the secret that the server keeps, unless there is one.
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
        Ok((Self::over(link, config, namespace).await?, secret))
    }

    async fn over(
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
        // Where many instances start at once a server answers late, and that is no reason not to start.
        open::self_test(&store(config.timeout().max(open::OPEN_TIMEOUT)), config).await?;
        Ok(store(config.timeout()))
    }
}

/// For tests: the same store, whose limits take the time from the server's keys of these names, seconds and
/// microseconds as `TIME` gives them.
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
