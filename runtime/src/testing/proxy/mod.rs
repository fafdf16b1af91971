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

/// A TCP proxy between a client and a Redis server, on a free port of the loopback interface. It
/// delays, loses or changes data, closes connections, and counts the commands.
///
/// Each fault can be switched on and off while connections are open. When the proxy is dropped, its
/// connections are closed.
///
/// While the server is down, the proxy accepts connections and closes them immediately.
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
/// call(proxy.url()).await; // The server executes the command, and the client gets no reply.
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    switches: watch::Sender<Switches>,
    counts: Arc<Mutex<Counts>>,
    relays: Arc<Mutex<JoinSet<()>>>,
    accept_task: JoinHandle<()>,
}

/// The faults that are switched on.
#[derive(Debug, Clone, Default)]
struct Switches {
    delay: Duration,
    swallow_replies: bool,
    swallow_requests: bool,
    refuse: bool,
    rewrite: Option<Rule>,
}

impl Proxy {
    /// Starts a proxy to the server at this address. The server may start later.
    ///
    /// # Panics
    ///
    /// Panics if the loopback interface has no free port.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (switches, receiver) = watch::channel(Switches::default());
        let (counts, relays) = (Arc::default(), Arc::default());
        let relay = Relay {
            target,
            switches: receiver,
            counts: Arc::clone(&counts),
        };
        let accept_task = tokio::spawn(accept(listener, relay, Arc::clone(&relays)));
        Self {
            address,
            switches,
            counts,
            relays,
            accept_task,
        }
    }

    /// Returns the address that the proxy listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the proxy for a Redis client: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Delays each reply by this time, without changing the order of replies. A delay of zero ends
    /// the fault, but replies that are already delayed stay delayed.
    pub fn delay(&self, delay: Duration) {
        self.switches.send_modify(|switches| switches.delay = delay);
    }

    /// Forwards requests but discards replies, including replies that are delayed.
    ///
    /// Discarded bytes are never sent. TCP cannot continue after missing bytes, so
    /// `swallow_replies(false)` closes each connection that has lost bytes. The other connections
    /// stay open.
    pub fn swallow_replies(&self, swallow: bool) {
        self.switches
            .send_modify(|switches| switches.swallow_replies = swallow);
    }

    /// Discards requests. `swallow_requests(false)` closes connections in the same way as
    /// [`swallow_replies(false)`](Self::swallow_replies).
    pub fn swallow_requests(&self, swallow: bool) {
        self.switches
            .send_modify(|switches| switches.swallow_requests = swallow);
    }

    /// Closes all open connections, to clients and to the server, and returns after they are
    /// closed.
    pub async fn cut(&self) {
        let mut relays = core::mem::take(&mut *lock(&self.relays));
        relays.shutdown().await;
    }

    /// Closes new connections immediately, until `refuse(false)`. Open connections stay open.
    pub fn refuse(&self, refuse: bool) {
        self.switches
            .send_modify(|switches| switches.refuse = refuse);
    }

    /// Replaces each occurrence of `from` in replies with `to`, such as a version number with
    /// another one. A later call replaces this rule. A call with `to` equal to `from` ends the
    /// replacement.
    ///
    /// # Panics
    ///
    /// Panics if `from` is empty or contains a line break, or if `to` has another length.
    #[track_caller]
    pub fn rewrite(&self, from: &'static [u8], to: &'static [u8]) {
        let rule = Rule::new(from, to);
        self.switches
            .send_modify(|switches| switches.rewrite = Some(rule));
    }

    /// Returns the number of accepted connections, without the connections that
    /// [`refuse`](Self::refuse) closed.
    pub fn connections(&self) -> u64 {
        lock(&self.counts).connections
    }

    /// Returns the number of commands that clients have sent, including discarded commands. A
    /// command is counted when it is complete, before the server receives it.
    pub fn requests(&self) -> u64 {
        lock(&self.counts).requests()
    }

    /// Returns the number of commands with this name, such as `EVALSHA`, in any case.
    pub fn requests_named(&self, name: &str) -> u64 {
        lock(&self.counts).requests_named(name)
    }

    /// Sets all counts to zero.
    pub fn reset_counts(&self) {
        *lock(&self.counts) = Counts::default();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept_task.abort();
        lock(&self.relays).abort_all();
    }
}

/// Accepts connections, and relays each connection in a task of the set. The tasks own the
/// connections, so a shutdown of the set closes all connections.
async fn accept(listener: TcpListener, relay: Relay, relays: Arc<Mutex<JoinSet<()>>>) {
    loop {
        // An accept fails if its client has already disconnected.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if relay.switches.borrow().refuse {
            continue;
        }
        lock(&relay.counts).connections += 1;
        let mut relays = lock(&relays);
        // Removes finished tasks, which a `JoinSet` keeps until they are joined.
        while relays.try_join_next().is_some() {}
        relays.spawn(relay.clone().run(client));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
