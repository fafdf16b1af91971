//! Sentinels: servers that know which of several servers is the primary.
//!
//! They are asked in turn with every connection that is made. What one says is believed once the server
//! that it names says itself that it is a primary, so that one that still names the primary of before is
//! passed over. While a connection stands they are asked again and again: a primary that was replaced
//! may go on for seconds as if it were one, and what it takes in is lost.

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

/// Where sentinels are, and of which primary they are asked.
#[derive(Debug)]
pub(super) struct Sentinels {
    primary: String,
    all: Vec<Sentinel>,
    /// How to speak to the servers that they name.
    settings: RedisConnectionInfo,
    /// Which of them answered last.
    first: AtomicUsize,
}

#[derive(Debug)]
struct Sentinel {
    address: Address,
    wire: Connection,
}

/// A connection to the primary, and where that is.
pub(super) struct Primary {
    pub(super) connection: MultiplexedConnection,
    pub(super) address: Address,
}

/// How long a sentinel may take to answer.
const ANSWER: Duration = Duration::from_millis(300);
/// How long the server that it names may take.
const GREETING: Duration = Duration::from_millis(800);

pub(super) const PORT: u16 = 26_379;
pub(super) const FORM: &str = "redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name of the primary>[/<database>]";
/// Of the sentinels themselves, where they demand a password.
const PARAMETERS: [&str; 2] = ["sentinel_user", "sentinel_password"];

impl Sentinels {
    /// As a URL has it. An error says what is wrong with it.
    pub(super) fn new(url: ListUrl) -> Result<Self, String> {
        let mut path = url.path.into_iter().filter(|part| !part.is_empty());
        let primary = path.next().ok_or("the name of the primary is missing")?;
        let database = path.next().unwrap_or_else(|| String::from("0"));
        let database = database
            .parse::<u16>()
            .map_err(|_| "the database is not a number")?;
        if path.next().is_some() {
            return Err(String::from(
                "there is more than a name and a database behind the hosts",
            ));
        }
        let mut own = [None, None];
        for (name, value) in url.query {
            let index = PARAMETERS.iter().position(|known| *known == name);
            own[index
                .ok_or_else(|| format!("the parameters are {}", PARAMETERS.join(" and ")))?] =
                Some(value);
        }
        let [user, password] = own;
        if user.is_some() && password.is_none() {
            return Err(String::from("sentinel_user needs sentinel_password"));
        }
        let own = Login { user, password }.settings();
        let sentinel = |address: Address| Sentinel::new(address.client(own.clone()), address);
        Ok(Self {
            primary,
            all: url.addresses.into_iter().map(sentinel).collect(),
            settings: url.login.settings().set_db(i64::from(database)),
            first: AtomicUsize::new(0),
        })
    }

    /// The same sentinels over connections of their own.
    pub(super) fn another(&self) -> Self {
        let another = |sentinel: &Sentinel| Sentinel {
            address: sentinel.address.clone(),
            wire: sentinel.wire.another(),
        };
        Self {
            primary: self.primary.clone(),
            all: self.all.iter().map(another).collect(),
            settings: self.settings.clone(),
            first: AtomicUsize::new(0),
        }
    }

    /// Whether most sentinels call another server than this one the primary.
    pub(super) async fn left_primary(&self, primary: &Address) -> bool {
        let asked = join_all(self.all.iter().map(|sentinel| self.ask(sentinel))).await;
        let named: Vec<_> = asked.into_iter().filter_map(Result::ok).collect();
        is_elsewhere(primary, &named, self.all.len())
    }

    /// A connection to the primary. The sentinel that answered last is asked first.
    pub(super) async fn connect(&self) -> Result<Primary, String> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.all.len());
        let (mut refuted, mut why) = (Vec::new(), Vec::new());
        for index in (first..first + count).map(|index| index % count) {
            match self.connect_by(&self.all[index], &mut refuted).await {
                Ok(primary) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(primary);
                }
                Err(error) => why.push(format!("{} {error}", self.all[index].address)),
            }
        }
        Err(format!(
            "no sentinel leads to the primary {:?}: {}",
            self.primary,
            why.join("; ")
        ))
    }

    /// A connection to the server that this sentinel names, unless that is one of those that are refuted.
    async fn connect_by(
        &self,
        sentinel: &Sentinel,
        refuted: &mut Vec<Address>,
    ) -> Result<Primary, String> {
        let address = self.ask(sentinel).await?;
        if refuted.contains(&address) {
            return Err(format!("names {address}, too"));
        }
        let greeted = timeout(GREETING, greet(&address.client(self.settings.clone()))).await;
        match greeted.unwrap_or_else(|_| Err(format!("which says nothing within {GREETING:?}"))) {
            Ok(connection) => Ok(Primary {
                connection,
                address,
            }),
            Err(why) => {
                let why = format!("names {address}, {why}");
                refuted.push(address);
                Err(why)
            }
        }
    }

    async fn ask(&self, sentinel: &Sentinel) -> Result<Address, String> {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        let told = sentinel
            .wire
            .call(&ask, Instant::now() + ANSWER, WhenDisconnected::Fail)
            .await;
        let told = told.map_err(|failure| format!("cannot be asked: {failure}"))?;
        match Option::<(String, u16)>::from_redis_value(told) {
            Ok(Some((host, port))) => Ok(Address { host, port }),
            Ok(None) => Err(String::from("knows no primary of that name")),
            Err(_) => Err(String::from("tells what no sentinel tells")),
        }
    }
}

impl Sentinel {
    fn new(client: Client, address: Address) -> Self {
        let shown = format!("the sentinel at {address}");
        Self {
            wire: Connection::new(ConnectionTarget::Server(client), shown),
            address,
        }
    }
}

/// Whether more than half of so many sentinels name the same server, and not this one.
fn is_elsewhere(primary: &Address, named: &[Address], of: usize) -> bool {
    let votes = |other: &Address| named.iter().filter(|name| *name == other).count();
    named
        .iter()
        .any(|other| other != primary && votes(other) * 2 > of)
}

/// A connection to a server that says itself that it is a primary.
async fn greet(client: &Client) -> Result<MultiplexedConnection, String> {
    let mut connection = connect_to(client).await?;
    let role = redis::cmd("ROLE")
        .query_async::<Value>(&mut connection)
        .await;
    match role.map_err(|error| describe_error(&error))? {
        Value::Array(told) if is_word(told.first(), "master") => Ok(connection),
        _ => Err(String::from("which is not the primary yet, or no more")),
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
    fn a_primary_is_left_when_most_sentinels_name_the_same_other_one() {
        let at = |port: &u16| Address {
            host: String::from("host"),
            port: *port,
        };
        let is_elsewhere =
            |named: &[u16]| is_elsewhere(&at(&1), &named.iter().map(at).collect::<Vec<_>>(), 3);
        assert!(is_elsewhere(&[2, 2]) && is_elsewhere(&[1, 2, 2]));
        for stays in [&[][..], &[1], &[2], &[1, 1, 2], &[2, 3], &[1, 2, 3]] {
            assert!(!is_elsewhere(stays), "{stays:?}");
        }
    }
}
