use core::time::Duration;
use std::net::SocketAddr;

use futures_util::future::{BoxFuture, ready};

use super::group::{offsets, options, start_all, until, until_replicated};
use super::process::Role;
use super::{RedisServer, Reply};
use crate::testing::Elapse;

/// A primary, two replicas, and three sentinels that make a replica the primary where it fails: each a
/// process of its own, as [`RedisServer`] is one.
///
/// Sentinels take a server for down after a second; two of them decide. Methods block the thread,
/// for up to a minute where servers do not do what they should, and then panic.
///
/// ```no_run
/// use aplomb::testing::RedisSentinels;
///
/// let servers = RedisSentinels::start();
/// servers.until_replicated();
/// let before = servers.primary().address();
/// servers.primary().kill();
/// servers.until_failed_over(before);
/// ```
#[derive(Debug)]
pub struct RedisSentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

/// What the sentinels call the primary.
const NAME: &str = "aplomb";
/// How often they look, in milliseconds, instead of every second or ten.
const OFTEN: &str = "100";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;

impl RedisSentinels {
    /// Starts all of them, and returns once the sentinels know one another and the replicas have what
    /// the primary has.
    ///
    /// # Panics
    ///
    /// Where `redis-server` is not on the `PATH`, or one does not come up.
    #[track_caller]
    pub fn start() -> Self {
        let server = || Role::Server(options(&["--repl-diskless-sync-delay", "0"]));
        let servers = start_all((0..=REPLICAS).map(|_| server()).collect());
        let (host, port) = host_and_port(servers[0].address());
        for replica in &servers[1..] {
            assert_eq!(replica.command(&["REPLICAOF", &host, &port]), Reply::ok());
        }
        let sentinel = || Role::Sentinel(configuration(&host, &port));
        let started = Self {
            servers,
            sentinels: start_all((0..SENTINELS).map(|_| sentinel()).collect()),
        };
        started.set(&["INFO-PERIOD", "ASK-PERIOD", "PUBLISH-PERIOD"], OFTEN);
        // A replica is made the primary only if it has told of itself within five of these, and once the primary is
        // down, it is asked every second, whatever is set.
        started.set(&["PING-PERIOD"], "300");
        until("the sentinels and the replicas are ready", || {
            started.are_ready()
        });
        // By this they judge, too, whether a replica that says it is a primary has been made one.
        started.set(&["PUBLISH-PERIOD"], "2000");
        started
    }

    /// Their URL: `redis+sentinel://127.0.0.1:<port>,…/aplomb`.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| sentinel.address().to_string())
            .collect();
        format!("redis+sentinel://{}/{NAME}", hosts.join(","))
    }

    /// The primary and its replicas, whichever is which.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that all sentinels that answer call the primary.
    #[track_caller]
    pub fn primary(&self) -> &RedisServer {
        let mut primary = None;
        until("the sentinels agree on the primary", || {
            primary = self.agreed();
            primary.is_some()
        });
        primary.expect("they agree")
    }

    /// Waits until a replica has all that the primary has by now.
    #[track_caller]
    pub fn until_replicated(&self) {
        until_replicated(self.primary(), 1);
    }

    /// Waits until both replicas have all that the primary has by now: whichever of them takes its place
    /// loses nothing.
    #[track_caller]
    pub fn until_all_replicated(&self) {
        until_replicated(self.primary(), REPLICAS);
    }

    /// Waits until another server than this one is the primary, and says so itself.
    #[track_caller]
    pub fn until_failed_over(&self, from: SocketAddr) {
        until("another server is the primary", || {
            self.agreed()
                .is_some_and(|primary| primary.address() != from && offsets(primary).is_some())
        });
    }

    fn agreed(&self) -> Option<&RedisServer> {
        let told = |sentinel: &RedisServer| {
            sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
        };
        let told: Vec<_> = self.sentinels.iter().filter_map(told).collect();
        let (first, others) = told.split_first()?;
        let named = format!(
            "{}:{}",
            first.items().first()?.text(),
            first.items().get(1)?.text()
        );
        let agree = others.iter().all(|other| other == first);
        self.servers
            .iter()
            .find(|server| agree && server.address().to_string() == named)
    }

    /// Sets how often the sentinels look at something, in milliseconds.
    fn set(&self, periods: &[&str], to: &str) {
        for (sentinel, period) in self
            .sentinels
            .iter()
            .flat_map(|one| periods.iter().map(move |period| (one, period)))
        {
            assert_eq!(
                sentinel.command(&["SENTINEL", "DEBUG", period, to]),
                Reply::ok()
            );
        }
    }

    fn are_ready(&self) -> bool {
        let knows_all = |sentinel: &RedisServer| {
            let told = sentinel.try_command(&["SENTINEL", "MASTER", NAME]);
            told.is_some_and(|told| {
                field(&told, "num-slaves") == REPLICAS.to_string()
                    && field(&told, "num-other-sentinels") == (SENTINELS - 1).to_string()
                    && field(&told, "flags") == "master"
            })
        };
        let replicated =
            offsets(&self.servers[0]).is_some_and(|(_, replicas)| replicas.len() == REPLICAS);
        replicated && self.sentinels.iter().all(knows_all)
    }
}

/// Lets time pass on the primary, from where it passes on the replicas.
impl Elapse for RedisSentinels {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.primary().age(time);
        Box::pin(ready(()))
    }
}

/// A field of a list of names and values.
fn field(told: &Reply, name: &str) -> String {
    let pairs = told.items().chunks(2);
    let value = pairs
        .filter(|pair| pair[0].text() == name)
        .find_map(|pair| pair.get(1));
    value.map(Reply::text).unwrap_or_default()
}

fn host_and_port(address: SocketAddr) -> (String, String) {
    (address.ip().to_string(), address.port().to_string())
}

/// A replica that has heard nothing of its primary for ten times as long as it takes to count as down is not made one:
/// on a slow machine less than a second would be too little.
fn configuration(host: &str, port: &str) -> String {
    format!(
        "sentinel monitor {NAME} {host} {port} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 3000\n"
    )
}
