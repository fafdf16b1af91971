//! A TCP proxy for tests.

mod commands;
mod relay;
mod rewrite;

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::commands::Counts;
use self::relay::Relay;
use self::rewrite::Rule;

/// What stands between a client and its Redis server, on a free port of the loopback interface:
/// it delays, loses, and breaks what goes through, and counts the commands.
///
/// All can be switched while connections are open. When it is dropped, its connections are closed.
///
/// While the server is down, the proxy still accepts, and closes at once.
///
/// ```no_run
/// use aplomb::testing::{Proxy, RedisServer};
/// # async fn call(_: String) {}
/// # async fn example() {
/// let server = RedisServer::start();
/// let proxy = Proxy::start(server.address()).await;
/// call(proxy.url()).await;
/// assert_eq!(proxy.requests_named("EVALSHA"), 1);
///
/// proxy.swallow_replies(true);
/// call(proxy.url()).await; // The server does it, and nobody hears of it.
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    switches: watch::Sender<Switches>,
    counts: Arc<Mutex<Counts>>,
    open: Arc<Mutex<JoinSet<()>>>,
    accepting: JoinHandle<()>,
}

/// What is done to the connections.
#[derive(Debug, Clone, Default)]
struct Switches {
    delay: Duration,
    swallow_replies: bool,
    swallow_requests: bool,
    refuse: bool,
    rewrite: Option<Rule>,
}

impl Proxy {
    /// Starts a proxy to a server that need not be there yet.
    ///
    /// # Panics
    ///
    /// Where the loopback interface has no free port.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (switches, watched) = watch::channel(Switches::default());
        let (counts, open) = (Arc::default(), Arc::default());
        let relay = Relay {
            target,
            switches: watched,
            counts: Arc::clone(&counts),
        };
        let accepting = tokio::spawn(accept(listener, relay, Arc::clone(&open)));
        Self {
            address,
            switches,
            counts,
            open,
            accepting,
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL for a Redis client: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Lets replies arrive so much later, in their order. Zero ends it, but for replies that are
    /// under way.
    pub fn delay(&self, delay: Duration) {
        self.switches.send_modify(|switches| switches.delay = delay);
    }

    /// Lets requests through and loses the replies, those that are delayed too.
    ///
    /// What is lost stays lost. As nothing comes after a gap in TCP, a connection that lost
    /// something is closed when this is switched off; the others stay.
    pub fn swallow_replies(&self, swallow: bool) {
        self.switches
            .send_modify(|switches| switches.swallow_replies = swallow);
    }

    /// Loses the requests. Connections end as with [`swallow_replies`](Self::swallow_replies).
    pub fn swallow_requests(&self, swallow: bool) {
        self.switches
            .send_modify(|switches| switches.swallow_requests = swallow);
    }

    /// Closes every open connection, to the client and to the server, and returns once it is done.
    pub async fn cut(&self) {
        let mut open = core::mem::take(&mut *lock(&self.open));
        open.shutdown().await;
    }

    /// Closes new connections at once, until it is called with `false`. Those that are open stay.
    pub fn refuse(&self, refuse: bool) {
        self.switches
            .send_modify(|switches| switches.refuse = refuse);
    }

    /// Replaces bytes wherever they occur in replies, such as a version by another one. The next
    /// call replaces the rule; the same bytes twice end it.
    ///
    /// # Panics
    ///
    /// Where `from` is empty or has a line break, or `to` is longer or shorter.
    #[track_caller]
    pub fn rewrite(&self, from: &'static [u8], to: &'static [u8]) {
        let rule = Rule::new(from, to);
        self.switches
            .send_modify(|switches| switches.rewrite = Some(rule));
    }

    /// How many connections were accepted; those that were refused do not count.
    pub fn connections(&self) -> u64 {
        lock(&self.counts).connections
    }

    /// How many commands clients have sent, those that were swallowed too. A command counts once
    /// it is complete, and before the server has it.
    pub fn requests(&self) -> u64 {
        lock(&self.counts).requests()
    }

    /// How many of them have this name, in upper or lower case.
    pub fn requests_named(&self, name: &str) -> u64 {
        lock(&self.counts).requests_named(name)
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        *lock(&self.counts) = Counts::default();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        lock(&self.open).abort_all();
    }
}

/// Owns no connection beyond this set: the tasks end with it.
async fn accept(listener: TcpListener, relay: Relay, open: Arc<Mutex<JoinSet<()>>>) {
    loop {
        // An error is that of a client which is gone already.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if relay.switches.borrow().refuse {
            continue;
        }
        lock(&relay.counts).connections += 1;
        let mut open = lock(&open);
        while open.try_join_next().is_some() {}
        open.spawn(relay.clone().run(client));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
