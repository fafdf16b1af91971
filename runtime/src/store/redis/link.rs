//! The connections of a store: one to a single server, or one to each node of a cluster.

use core::fmt;
use std::sync::Arc;

use redis::{Cmd, RedisError, Value};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::config::{RedisConfig, Servers};
use super::connection::{Connection, ConnectionTarget};
use super::describe_error::describe_error;

/// The connections to the servers of a store. Clones share them.
#[derive(Debug, Clone)]
pub(super) enum NodeLink {
    /// One server: the only one, or the primary behind sentinels.
    Single(Connection),
    /// The nodes of a cluster, each with a part of the keys.
    Cluster(Cluster),
}

/// The reason why a call has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command was not sent. Nothing was done.
    NotSent(String),
    /// The connection was lost before the reply. The command may have been done.
    Lost(String),
    /// No reply came before the deadline. The command may have been done.
    TimedOut(String),
    /// The server replied with an error.
    Refused(RedisError),
}

/// The behavior of a call while there is no connection and the last attempt to connect has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenDisconnected {
    /// The call fails immediately, so that requests do not pile up during an outage.
    Fail,
    /// The call waits for the next connection until the deadline, because it settles a finished
    /// run.
    WaitUntilDeadline,
}

/// A server that stores keys.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) connection: Connection,
    /// The address for messages; `None` if the URL names exactly this server.
    pub(super) address: Option<String>,
}

impl NodeLink {
    /// Creates a link that connects with its first call, in the runtime of that call.
    pub(super) fn new(config: &RedisConfig) -> Self {
        let display_name = config.redacted_url().to_owned();
        match config.servers() {
            Servers::Server(client) => Self::Single(Connection::new(
                ConnectionTarget::Server(client.clone()),
                display_name,
            )),
            Servers::Primary(sentinels) => Self::Single(Connection::new(
                ConnectionTarget::Primary(Arc::clone(sentinels)),
                display_name,
            )),
            Servers::Cluster(seed_nodes) => {
                Self::Cluster(Cluster::new(Arc::clone(seed_nodes), display_name))
            }
        }
    }

    /// Returns a link to the same servers that opens separate connections.
    pub(super) fn with_own_connections(&self) -> Self {
        match self {
            Self::Single(connection) => Self::Single(connection.with_own_connection()),
            Self::Cluster(cluster) => Self::Cluster(cluster.with_own_connections()),
        }
    }

    /// Returns `true` if keys may be on different servers.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Returns all servers that store keys.
    pub(super) async fn servers(&self, deadline: Instant) -> Result<Vec<Server>, Failure> {
        match self {
            Self::Single(connection) => Ok(vec![Server {
                connection: connection.clone(),
                address: None,
            }]),
            Self::Cluster(cluster) => cluster.primaries(deadline).await,
        }
    }

    /// Returns the address of the node with this key; `None` for a single server or an unknown
    /// node.
    pub(super) fn address_of(&self, key: &str) -> Option<String> {
        match self {
            Self::Single(_) => None,
            Self::Cluster(cluster) => cluster.address_of(key),
        }
    }

    /// Sends a command to the server with this key.
    pub(super) async fn call(
        &self,
        key: &str,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        match self {
            Self::Single(connection) => {
                connection
                    .call(command, deadline, WhenDisconnected::Fail)
                    .await
            }
            Self::Cluster(cluster) => cluster.call(key, command, deadline).await,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(reason) | Self::Lost(reason) | Self::TimedOut(reason) => {
                f.write_str(reason)
            }
            Self::Refused(error) => f.write_str(&describe_error(error)),
        }
    }
}

impl Failure {
    /// Converts the failure of a second attempt into the failure of the call. The result is always
    /// [`Self::Lost`], because the first attempt may have been done.
    pub(super) fn after_retry(self) -> Self {
        match self {
            Self::NotSent(reason) | Self::Lost(reason) | Self::TimedOut(reason) => {
                Self::Lost(reason)
            }
            Self::Refused(error) => Self::Lost(describe_error(&error)),
        }
    }
}
