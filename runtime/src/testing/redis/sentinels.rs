use core::time::Duration;
use std::net::SocketAddr;

use futures_util::future::{BoxFuture, ready};

use super::group::{offsets, options, start_all, until, until_replicated};
use super::process::Role;
use super::{RedisServer, Reply};
use crate::testing::Elapse;

/// A primary, two replicas, and three sentinels that promote a replica if the primary fails. Each
/// of them is a [`RedisServer`].
///
/// A server counts as down after a second without a reply, if two sentinels agree. Methods block
/// the thread. They panic if the servers do not reach the expected state within a minute.
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

/// The name of the primary in the configuration of the sentinels.
const PRIMARY_NAME: &str = "aplomb";
/// The period of the sentinels' checks in milliseconds. The default of 1 s to 10 s would make the
/// start slow.
const SHORT_PERIOD_MS: &str = "100";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;

impl RedisSentinels {
    /// Starts all servers, and returns after the sentinels have met and the replicas replicate.
    ///
    /// # Panics
    ///
    /// Panics if `redis-server` is not on the `PATH`, or if a server does not start.
    #[track_caller]
    pub fn start() -> Self {
        let server = || Role::Server(options(&["--repl-diskless-sync-delay", "0"]));
        let servers = start_all((0..=REPLICAS).map(|_| server()).collect());
        let (host, port) = host_and_port(servers[0].address());
        for replica in &servers[1..] {
            assert_eq!(replica.command(&["REPLICAOF", &host, &port]), Reply::ok());
        }
        let sentinel = || Role::Sentinel(sentinel_configuration(&host, &port));
        let started = Self {
            servers,
            sentinels: start_all((0..SENTINELS).map(|_| sentinel()).collect()),
        };
        started.set_periods(
            &["INFO-PERIOD", "ASK-PERIOD", "PUBLISH-PERIOD"],
            SHORT_PERIOD_MS,
        );
        // A sentinel promotes a replica only if the replica has replied within the last five ping
        // periods. After the primary is down, sentinels query replicas once a second, regardless of
        // the settings. So five ping periods must be longer than 1 s. Here they are 5 × 300 ms.
        started.set_periods(&["PING-PERIOD"], "300");
        until("the sentinels and the replicas are ready", || {
            started.are_ready()
        });
        // Sentinels demote a replica that reports itself as a primary, after a wait that depends on
        // the publish period. With 100 ms they could demote a new primary before all of them have
        // learned of its promotion.
        started.set_periods(&["PUBLISH-PERIOD"], "2000");
        started
    }

    /// Returns the URL with the addresses of the sentinels:
    /// `redis+sentinel://127.0.0.1:<port>,…/aplomb`.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| sentinel.address().to_string())
            .collect();
        format!("redis+sentinel://{}/{PRIMARY_NAME}", hosts.join(","))
    }

    /// Returns the primary and its replicas. A failover does not change their order.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// Returns the sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// Returns the current primary. Waits until all sentinels that respond agree on the primary.
    #[track_caller]
    pub fn primary(&self) -> &RedisServer {
        let mut primary = None;
        until("the sentinels agree on the primary", || {
            primary = self.agreed_primary();
            primary.is_some()
        });
        primary.expect("they agree")
    }

    /// Waits until one replica has all data that the primary has at the time of the call.
    #[track_caller]
    pub fn until_replicated(&self) {
        until_replicated(self.primary(), 1);
    }

    /// Waits until both replicas have all data that the primary has at the time of the call. A
    /// promotion of either replica then loses no data.
    #[track_caller]
    pub fn until_all_replicated(&self) {
        until_replicated(self.primary(), REPLICAS);
    }

    /// Waits until a server other than `from` is the primary. The sentinels must name this server,
    /// and its own reply to `ROLE` must agree.
    #[track_caller]
    pub fn until_failed_over(&self, from: SocketAddr) {
        until("another server is the primary", || {
            self.agreed_primary()
                .is_some_and(|primary| primary.address() != from && offsets(primary).is_some())
        });
    }

    fn agreed_primary(&self) -> Option<&RedisServer> {
        let ask = |sentinel: &RedisServer| {
            sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME])
        };
        let replies: Vec<_> = self.sentinels.iter().filter_map(ask).collect();
        let (first, others) = replies.split_first()?;
        let address = format!(
            "{}:{}",
            first.items().first()?.text(),
            first.items().get(1)?.text()
        );
        let agree = others.iter().all(|other| other == first);
        self.servers
            .iter()
            .find(|server| agree && server.address().to_string() == address)
    }

    /// Sets periods of all sentinels, in milliseconds.
    fn set_periods(&self, periods: &[&str], to: &str) {
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
        let has_met_all = |sentinel: &RedisServer| {
            let reply = sentinel.try_command(&["SENTINEL", "MASTER", PRIMARY_NAME]);
            reply.is_some_and(|reply| {
                field(&reply, "num-slaves") == REPLICAS.to_string()
                    && field(&reply, "num-other-sentinels") == (SENTINELS - 1).to_string()
                    && field(&reply, "flags") == "master"
            })
        };
        let is_replicated =
            offsets(&self.servers[0]).is_some_and(|(_, replicas)| replicas.len() == REPLICAS);
        is_replicated && self.sentinels.iter().all(has_met_all)
    }
}

/// Ages the data of the primary. The replicas get the changed data by replication.
impl Elapse for RedisSentinels {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.primary().age(time);
        Box::pin(ready(()))
    }
}

/// Returns the value of a field in a list of alternating names and values.
fn field(reply: &Reply, name: &str) -> String {
    let pairs = reply.items().chunks(2);
    let value = pairs
        .filter(|pair| pair[0].text() == name)
        .find_map(|pair| pair.get(1));
    value.map(Reply::text).unwrap_or_default()
}

fn host_and_port(address: SocketAddr) -> (String, String) {
    (address.ip().to_string(), address.port().to_string())
}

/// Returns the configuration of a sentinel.
///
/// `down-after-milliseconds` is 1 s. A replica is not promoted if it lost its primary more than
/// 10 s ago (ten of these periods). On a slow machine, a shorter period would exclude all replicas.
fn sentinel_configuration(host: &str, port: &str) -> String {
    format!(
        "sentinel monitor {PRIMARY_NAME} {host} {port} 2\n\
         sentinel down-after-milliseconds {PRIMARY_NAME} 1000\n\
         sentinel failover-timeout {PRIMARY_NAME} 3000\n"
    )
}
