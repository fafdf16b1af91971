//! Sentinels: servers that know which of several servers is the primary.
//!
//! They are asked in turn with every connection that is made. What one says is believed once the server
//! that it names says itself that it is a primary, so that one that has been cut off from the others,
//! and still names the primary of before, is passed over.

use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisConnectionInfo, Value};
use tokio::time::timeout;

use super::explain::explain;
use super::url::{Address, ListUrl};
use super::wire::connect_to;

/// Where sentinels are, and of which primary they are asked.
#[derive(Debug)]
pub(super) struct Sentinels {
    primary: String,
    sentinels: Vec<Sentinel>,
    /// How to speak to the servers that they name.
    settings: RedisConnectionInfo,
    /// Which of them answered last.
    first: AtomicUsize,
}

#[derive(Debug)]
struct Sentinel {
    address: Address,
    client: Client,
}

/// How long a sentinel may take to answer.
const ANSWER: Duration = Duration::from_millis(300);
/// How long the server that it names may take.
const GREETING: Duration = Duration::from_millis(800);

pub(super) const PORT: u16 = 26_379;
pub(super) const FORM: &str =
    "redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name of the primary>[/<database>]";
/// Of the sentinels themselves, where they demand a password.
const PARAMETERS: [&str; 2] = ["sentinel_user", "sentinel_password"];

impl Sentinels {
    /// As a URL has it. An error says what is wrong with it.
    pub(super) fn new(url: ListUrl) -> Result<Self, String> {
        let mut path = url.path.into_iter().filter(|part| !part.is_empty());
        let primary = path.next().ok_or("the name of the primary is missing")?;
        let database = path.next().unwrap_or_else(|| String::from("0"));
        let database = database.parse::<u16>().map_err(|_| "the database is not a number")?;
        if path.next().is_some() {
            return Err(String::from("there is more than a name and a database behind the hosts"));
        }
        let mut own = [None, None];
        for (name, value) in url.query {
            let index = PARAMETERS.iter().position(|known| *known == name);
            own[index.ok_or_else(|| format!("the parameters are {}", PARAMETERS.join(" and ")))?] =
                Some(value);
        }
        let [user, password] = own;
        if user.is_some() && password.is_none() {
            return Err(String::from("sentinel_user needs sentinel_password"));
        }
        let own = super::url::Login { user, password }.settings();
        let sentinel = |address: Address| Sentinel { client: address.client(own.clone()), address };
        Ok(Self {
            primary,
            sentinels: url.addresses.into_iter().map(sentinel).collect(),
            settings: url.login.settings().set_db(i64::from(database)),
            first: AtomicUsize::new(0),
        })
    }

    /// A connection to the primary. The sentinel that answered last is asked first.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.sentinels.len());
        let (mut refuted, mut why) = (Vec::new(), Vec::new());
        for index in (first..first + count).map(|index| index % count) {
            match self.connect_by(&self.sentinels[index], &mut refuted).await {
                Ok(connection) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => why.push(format!("{} {error}", self.sentinels[index].address)),
            }
        }
        Err(format!("no sentinel leads to the primary {:?}: {}", self.primary, why.join("; ")))
    }

    /// A connection to the server that this sentinel names, unless that is one of those that are refuted.
    async fn connect_by(
        &self,
        sentinel: &Sentinel,
        refuted: &mut Vec<Address>,
    ) -> Result<MultiplexedConnection, String> {
        let asked = timeout(ANSWER, self.ask(&sentinel.client)).await;
        let named = asked.unwrap_or_else(|_| Err(format!("says nothing within {ANSWER:?}")))?;
        if refuted.contains(&named) {
            return Err(format!("names {named}, too"));
        }
        let greeted = timeout(GREETING, greet(&named.client(self.settings.clone()))).await;
        let greeted = greeted.unwrap_or_else(|_| Err(format!("which says nothing within {GREETING:?}")));
        greeted.map_err(|why| {
            let why = format!("names {named}, {why}");
            refuted.push(named);
            why
        })
    }

    async fn ask(&self, sentinel: &Client) -> Result<Address, String> {
        let mut connection = connect_to(sentinel).await.map_err(|why| format!("cannot be asked: {why}"))?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        match ask.query_async::<Option<(String, u16)>>(&mut connection).await {
            Ok(Some((host, port))) => Ok(Address { host, port }),
            Ok(None) => Err(String::from("knows no primary of that name")),
            Err(error) => Err(format!("cannot be asked: {}", explain(&error))),
        }
    }
}

/// A connection to a server that says itself that it is a primary.
async fn greet(client: &Client) -> Result<MultiplexedConnection, String> {
    let mut connection = connect_to(client).await?;
    let role = redis::cmd("ROLE").query_async::<Value>(&mut connection).await;
    match role.map_err(|error| explain(&error))? {
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
