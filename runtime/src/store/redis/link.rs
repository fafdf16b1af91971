//! The way from a store to its servers: to one, or to the nodes of a cluster.

use core::fmt;
use std::sync::Arc;

use redis::{Cmd, RedisError, Value};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::config::{RedisConfig, Servers};
use super::connection::{Connection, ConnectionTarget};
use super::describe_error::describe_error;

/// The way to the servers of a store. Clones share its connections.
#[derive(Debug, Clone)]
pub(super) enum NodeLink {
    /// One server, or whichever of several is the primary.
    One(Connection),
    /// Several, of which each has a part of the keys.
    Cluster(Cluster),
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not sent.
    NotSent(String),
    /// The connection was lost before an answer came.
    Lost(String),
    /// There is no answer in time.
    Late(String),
    /// The server refuses.
    Refused(RedisError),
}

/// What a call does while there is no connection and the last attempt to make one has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenDisconnected {
    /// Fails at once, so that an outage does not pile up requests.
    Fail,
    /// Waits until its deadline: what it tells the server must not be lost if that can be helped.
    WaitUntilDeadline,
}

/// A server that keeps keys, and how it is called in messages.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) connection: Connection,
    /// Its address, where the URL does not say which server is meant.
    pub(super) address: Option<String>,
}

impl NodeLink {
    /// A link that connects with its first call, in the runtime of that call.
    pub(super) fn new(config: &RedisConfig) -> Self {
        let shown = config.shown().to_owned();
        match config.servers() {
            Servers::Server(client) => Self::One(Connection::new(
                ConnectionTarget::Server(client.clone()),
                shown,
            )),
            Servers::Primary(sentinels) => Self::One(Connection::new(
                ConnectionTarget::Primary(Arc::clone(sentinels)),
                shown,
            )),
            Servers::Cluster(seeds) => Self::Cluster(Cluster::new(Arc::clone(seeds), shown)),
        }
    }

    /// The same servers over connections of its own.
    pub(super) fn with_own_connections(&self) -> Self {
        match self {
            Self::One(wire) => Self::One(wire.another()),
            Self::Cluster(cluster) => Self::Cluster(cluster.with_own_connections()),
        }
    }

    /// Whether keys may stand on different servers.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// All servers that keep keys.
    pub(super) async fn servers(&self, deadline: Instant) -> Result<Vec<Server>, Failure> {
        match self {
            Self::One(wire) => Ok(vec![Server {
                connection: wire.clone(),
                address: None,
            }]),
            Self::Cluster(cluster) => cluster.primaries(deadline).await,
        }
    }

    /// Where this key is, as far as is known; `None` where there is one server.
    pub(super) fn address_of(&self, key: &str) -> Option<String> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster) => cluster.address_of(key),
        }
    }

    /// Asks the server that has this key.
    pub(super) async fn call(
        &self,
        key: &str,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        match self {
            Self::One(wire) => wire.call(command, deadline, WhenDisconnected::Fail).await,
            Self::Cluster(cluster) => cluster.call(key, command, deadline).await,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) | Self::Lost(why) | Self::Late(why) => f.write_str(why),
            Self::Refused(error) => f.write_str(&describe_error(error)),
        }
    }
}

impl Failure {
    /// Whatever keeps a second try from an answer: the first may have done what was asked.
    pub(super) fn after_retry(self) -> Self {
        match self {
            Self::NotSent(why) | Self::Lost(why) | Self::Late(why) => Self::Lost(why),
            Self::Refused(error) => Self::Lost(describe_error(&error)),
        }
    }
}
