//! Sentinels: servers that name the primary among several servers.
//!
//! For each new connection, the sentinels are asked one after the other. The named server must
//! confirm that it is the primary, so a sentinel with outdated information is skipped. While a
//! connection is up, the sentinels are asked repeatedly, because a replaced primary may still
//! accept writes for some seconds. These writes are lost.

use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, RedisConnectionInfo, Value};
use tokio::time::{Instant, timeout};

use super::connection::{Connection, ConnectionTarget, connect_to};
use super::describe_error::describe_error;
use super::link::WhenDisconnected;
use super::url::{Address, ListUrl, Login};

/// The sentinels of a store, and the name of its primary.
#[derive(Debug)]
pub(super) struct Sentinels {
    primary_name: String,
    members: Vec<Sentinel>,
    /// The login and the database for the servers that the sentinels name.
    settings: RedisConnectionInfo,
    /// The index of the sentinel that is asked first. It is the sentinel that last named the
    /// primary.
    preferred: AtomicUsize,
}

#[derive(Debug)]
struct Sentinel {
    address: Address,
    connection: Connection,
}

/// A connection to the primary, and its address.
pub(super) struct Primary {
    pub(super) connection: MultiplexedConnection,
    pub(super) address: Address,
}

// An attempt to connect takes at most 3 s. One sentinel and the server that it names take at most
// 1.1 s together, so there is time to ask other sentinels.
/// The time that a sentinel may take to reply.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(300);
/// The time that the named server may take to confirm that it is the primary.
const ROLE_TIMEOUT: Duration = Duration::from_millis(800);

pub(super) const PORT: u16 = 26_379;
pub(super) const FORM: &str = "redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name of the primary>[/<database>]";
/// The parameters of the URL: the login for sentinels that demand a password.
const PARAMETERS: [&str; 2] = ["sentinel_user", "sentinel_password"];

impl Sentinels {
    /// Creates the sentinels that a URL names. The error says what is wrong with the URL.
    pub(super) fn new(url: ListUrl) -> Result<Self, String> {
        let mut path = url.path.into_iter().filter(|part| !part.is_empty());
        let primary_name = path.next().ok_or("the name of the primary is missing")?;
        let database = path.next().unwrap_or_else(|| String::from("0"));
        let database = database
            .parse::<u16>()
            .map_err(|_| "the database is not a number")?;
        if path.next().is_some() {
            return Err(String::from("the path has more than a name and a database"));
        }
        let mut login = [None, None];
        for (name, value) in url.query {
            let index = PARAMETERS.iter().position(|known| *known == name);
            let index = index.ok_or_else(|| {
                format!(
                    "unknown parameter; the parameters are {}",
                    PARAMETERS.join(" and ")
                )
            })?;
            login[index] = Some(value);
        }
        let [user, password] = login;
        if user.is_some() && password.is_none() {
            return Err(String::from("sentinel_user needs sentinel_password"));
        }
        let login = Login { user, password }.settings();
        let sentinel = |address: Address| Sentinel::new(address.client(login.clone()), address);
        Ok(Self {
            primary_name,
            members: url.addresses.into_iter().map(sentinel).collect(),
            settings: url.login.settings().set_db(i64::from(database)),
            preferred: AtomicUsize::new(0),
        })
    }

    /// Returns a copy of the sentinels that opens separate connections.
    pub(super) fn with_own_connections(&self) -> Self {
        let with_own_connection = |sentinel: &Sentinel| Sentinel {
            address: sentinel.address.clone(),
            connection: sentinel.connection.with_own_connection(),
        };
        Self {
            primary_name: self.primary_name.clone(),
            members: self.members.iter().map(with_own_connection).collect(),
            settings: self.settings.clone(),
            preferred: AtomicUsize::new(0),
        }
    }

    /// Returns `true` if most sentinels name the same server, and this server is not `primary`.
    pub(super) async fn name_another_primary(&self, primary: &Address) -> bool {
        let replies = join_all(self.members.iter().map(|sentinel| self.ask(sentinel))).await;
        let named: Vec<_> = replies.into_iter().filter_map(Result::ok).collect();
        majority_names_another(primary, &named, self.members.len())
    }

    /// Connects to the primary. The sentinel that last named the primary is asked first.
    pub(super) async fn connect(&self) -> Result<Primary, String> {
        // `Relaxed` is enough: an outdated index only changes the order in which sentinels are
        // asked.
        let (first, count) = (self.preferred.load(Ordering::Relaxed), self.members.len());
        let (mut refuted, mut reasons) = (Vec::new(), Vec::new());
        for index in (first..first + count).map(|index| index % count) {
            match self.connect_by(&self.members[index], &mut refuted).await {
                Ok(primary) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(primary);
                }
                Err(reason) => {
                    reasons.push(format!("{} {reason}", self.members[index].address));
                }
            }
        }
        Err(format!(
            "no sentinel leads to the primary {:?}: {}",
            self.primary_name,
            reasons.join("; ")
        ))
    }

    /// Connects to the server that this sentinel names.
    ///
    /// `refuted` contains the named servers that did not confirm that they are the primary. They
    /// are not tried twice, because each attempt can take up to [`ROLE_TIMEOUT`].
    async fn connect_by(
        &self,
        sentinel: &Sentinel,
        refuted: &mut Vec<Address>,
    ) -> Result<Primary, String> {
        let address = self.ask(sentinel).await?;
        if refuted.contains(&address) {
            return Err(format!("also names {address}"));
        }
        let connected = timeout(
            ROLE_TIMEOUT,
            connect_to_primary(&address.client(self.settings.clone())),
        )
        .await;
        match connected
            .unwrap_or_else(|_| Err(format!("which did not reply within {ROLE_TIMEOUT:?}")))
        {
            Ok(connection) => Ok(Primary {
                connection,
                address,
            }),
            Err(reason) => {
                let reason = format!("names {address}, {reason}");
                refuted.push(address);
                Err(reason)
            }
        }
    }

    /// Asks a sentinel for the address of the primary.
    async fn ask(&self, sentinel: &Sentinel) -> Result<Address, String> {
        let mut command = redis::cmd("SENTINEL");
        command
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.primary_name);
        let reply = sentinel
            .connection
            .call(
                &command,
                Instant::now() + SENTINEL_TIMEOUT,
                WhenDisconnected::Fail,
            )
            .await;
        let reply = reply.map_err(|failure| format!("cannot be reached: {failure}"))?;
        match Option::<(String, u16)>::from_redis_value(reply) {
            Ok(Some((host, port))) => Ok(Address { host, port }),
            Ok(None) => Err(String::from("has no primary with that name")),
            Err(_) => Err(String::from("does not reply like a sentinel")),
        }
    }
}

impl Sentinel {
    fn new(client: Client, address: Address) -> Self {
        let display_name = format!("the sentinel at {address}");
        Self {
            connection: Connection::new(ConnectionTarget::Server(client), display_name),
            address,
        }
    }
}

/// Returns `true` if more than half of `count` sentinels name the same server, and this server is
/// not `primary`. One sentinel with outdated information must not close a connection.
fn majority_names_another(primary: &Address, named: &[Address], count: usize) -> bool {
    let votes = |other: &Address| named.iter().filter(|name| *name == other).count();
    named
        .iter()
        .any(|other| other != primary && votes(other) * 2 > count)
}

/// Connects to a server that confirms that it is the primary.
async fn connect_to_primary(client: &Client) -> Result<MultiplexedConnection, String> {
    let mut connection = connect_to(client).await?;
    let role = redis::cmd("ROLE")
        .query_async::<Value>(&mut connection)
        .await;
    match role.map_err(|error| describe_error(&error))? {
        Value::Array(reply) if is_word(reply.first(), "master") => Ok(connection),
        _ => Err(String::from("which is not the primary")),
    }
}

fn is_word(value: Option<&Value>, word: &str) -> bool {
    match value {
        Some(Value::BulkString(text)) => text == word.as_bytes(),
        Some(Value::SimpleString(text)) => text == word,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_is_replaced_when_most_sentinels_name_the_same_other_server() {
        let at = |port: &u16| Address {
            host: String::from("host"),
            port: *port,
        };
        let is_replaced = |named: &[u16]| {
            majority_names_another(&at(&1), &named.iter().map(at).collect::<Vec<_>>(), 3)
        };
        assert!(is_replaced(&[2, 2]) && is_replaced(&[1, 2, 2]));
        for named in [&[][..], &[1], &[2], &[1, 1, 2], &[2, 3], &[1, 2, 3]] {
            assert!(!is_replaced(named), "{named:?}");
        }
    }
}
