//! One connection that all calls share, made anew when it is lost.
//!
//! A call that cannot be sent, because there is no connection, is told apart from one whose answer
//! did not come: only the latter may have had an effect. A connection on which nothing was heard for
//! a second while something was asked is tried with a `PING_TIMEOUT` and given up if that is not answered:
//! behind it the server may be stopped, or the network cut, without anybody having closed it.

use core::fmt;
use core::time::Duration;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::connection_state::{Attempt, ConnectionInner, ConnectionState, Established};
use super::describe_error::describe_error;
use super::link::{Failure, WhenDisconnected};
use super::sentinel::Sentinels;
use super::url::Address;

/// Where a wire leads.
#[derive(Clone)]
pub(super) enum ConnectionTarget {
    /// To this server.
    Server(Client),
    /// To the server that is the primary when it connects.
    Primary(Arc<Sentinels>),
}

/// A way to one server. Clones share the connection.
#[derive(Clone)]
pub(super) struct Connection {
    inner: Arc<ConnectionInner>,
}

/// How long a silent connection has to answer a `PING_TIMEOUT`.
const PING_TIMEOUT: Duration = Duration::from_millis(100);
/// How often sentinels are asked whether the primary is still the primary.
const PRIMARY_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

impl ConnectionTarget {
    /// The same, asked over connections of its own.
    fn with_own_connections(&self) -> Self {
        match self {
            Self::Server(client) => Self::Server(client.clone()),
            Self::Primary(sentinels) => Self::Primary(Arc::new(sentinels.another())),
        }
    }
}

impl Connection {
    /// A wire that connects with its first call, in the runtime of that call.
    pub(super) fn new(origin: ConnectionTarget, shown: String) -> Self {
        let slot = Mutex::new(ConnectionState::Down {
            retry_at: Instant::now(),
            pause: Duration::ZERO,
            why: None,
        });
        Self {
            inner: Arc::new(ConnectionInner {
                origin,
                shown,
                slot,
                started: Instant::now(),
            }),
        }
    }

    /// The same server over a connection of its own.
    pub(super) fn another(&self) -> Self {
        let ConnectionInner { origin, shown, .. } = &*self.inner;
        Self::new(origin.with_own_connections(), shown.clone())
    }

    /// Whether there is a connection, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.inner.up().is_some()
    }

    /// Asks the server.
    pub(super) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
        patience: WhenDisconnected,
    ) -> Result<Value, Failure> {
        let live = self.ready(deadline, patience).await?;
        let mut connection = live.connection.clone();
        self.answer(&live, deadline, command.query_async(&mut connection))
            .await
    }

    /// Asks a server for what it is about to take over (`ASKING`).
    pub(super) async fn call_asking(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let live = self.ready(deadline, WhenDisconnected::Fail).await?;
        let mut connection = live.connection.clone();
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        // Both in one piece, so that nobody else's command comes between.
        let asked =
            connection
                .send_packed_commands(&both, 1, 1)
                .map(|answers| match answers?.pop() {
                    Some(answer) => answer.extract_error(),
                    None => Ok(Value::Nil),
                });
        self.answer(&live, deadline, asked).await
    }

    /// The connection, once there is one.
    pub(super) async fn ready(
        &self,
        deadline: Instant,
        patience: WhenDisconnected,
    ) -> Result<Established, Failure> {
        match timeout_at(deadline, self.established(patience)).await {
            Ok(Ok(live)) => Ok(live),
            Ok(Err(why)) => Err(Failure::NotSent(why.to_string())),
            Err(_) => Err(Failure::NotSent(String::from("no connection in time"))),
        }
    }

    /// The answer to what is asked over this connection.
    async fn answer(
        &self,
        live: &Established,
        deadline: Instant,
        asked: impl Future<Output = RedisResult<Value>>,
    ) -> Result<Value, Failure> {
        self.inner.note_sent(live);
        match timeout_at(deadline, asked).await {
            Ok(answer) => {
                live.waiting_since.store(0, Ordering::Relaxed);
                answer.map_err(|error| self.failed(live, error))
            }
            Err(_) => {
                if self.inner.is_silent(live) {
                    self.inner.close(live, "nothing was heard for a second");
                }
                Err(Failure::Late(String::from("no answer in time")))
            }
        }
    }

    fn failed(&self, live: &Established, error: RedisError) -> Failure {
        let lost =
            error.is_connection_dropped() || error.is_io_error() || error.is_unrecoverable_error();
        if lost {
            let why = describe_error(&error);
            self.inner.close(live, &why);
            return Failure::Lost(why);
        }
        // The name now leads to a replica; another connection may lead to the new primary.
        if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
            self.inner.close(live, "the server has become a replica");
        }
        Failure::Refused(error)
    }

    async fn established(&self, patience: WhenDisconnected) -> Result<Established, Arc<str>> {
        loop {
            self.try_silent().await;
            match self.next_established(patience).await {
                Err(_) if patience == WhenDisconnected::WaitUntilDeadline => {
                    sleep_until(self.inner.retry_at()).await;
                }
                live => return live,
            }
        }
    }

    /// Calls that nobody waited for to the end leave it open whether they had their answer.
    async fn try_silent(&self) {
        let Some(live) = self.inner.up().filter(|live| self.inner.is_silent(live)) else {
            return;
        };
        let (ping, mut connection) = (redis::cmd("PING"), live.connection.clone());
        match timeout(PING_TIMEOUT, ping.query_async::<()>(&mut connection)).await {
            Ok(Ok(())) => live.waiting_since.store(0, Ordering::Relaxed),
            _ => self.inner.close(&live, "nothing was heard for a second"),
        }
    }

    /// The connection, or the first one that is being made; none while attempts fail.
    async fn next_established(&self, patience: WhenDisconnected) -> Result<Established, Arc<str>> {
        let (attempt, after) = match &mut *self.inner.state() {
            ConnectionState::Up(live) => return Ok(live.clone()),
            ConnectionState::Connecting { attempt, after } => (attempt.clone(), after.clone()),
            ConnectionState::Down {
                retry_at,
                why: Some(why),
                ..
            } if Instant::now() < *retry_at => {
                return Err(Arc::clone(why));
            }
            slot @ ConnectionState::Down { .. } => self.begin_attempt(slot),
        };
        match after {
            // Looked at all the same, so that one whose task is lost gives way to the next.
            Some(why) if patience == WhenDisconnected::Fail => {
                attempt.now_or_never().unwrap_or(Err(why))
            }
            _ => attempt.await,
        }
    }

    fn begin_attempt(&self, slot: &mut ConnectionState) -> (Attempt, Option<Arc<str>>) {
        let (pause, after) = match slot {
            ConnectionState::Down { pause, why, .. } => (*pause, why.take()),
            ConnectionState::Up(_) | ConnectionState::Connecting { .. } => (Duration::ZERO, None),
        };
        let attempt = self.attempt(pause);
        *slot = ConnectionState::Connecting {
            attempt: attempt.clone(),
            after: after.clone(),
        };
        (attempt, after)
    }

    /// Connects in a task of its own, which no caller that loses patience cancels.
    fn attempt(&self, pause: Duration) -> Attempt {
        let (inner, told) = (Arc::clone(&self.inner), Arc::clone(&self.inner));
        let task = tokio::spawn(async move {
            let connected = timeout(CONNECT_TIMEOUT, connect(&inner.origin)).await;
            let connected = connected
                .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}")));
            let (connection, primary) =
                connected.map_or_else(|why| (Err(why), None), |(up, to)| (Ok(up), to));
            let live = inner.settle(connection, pause)?;
            if let Some(primary) = primary {
                tokio::spawn(watch(Arc::downgrade(&inner), live.clone(), primary));
            }
            Ok(live)
        });
        // The task is lost with its runtime; the next attempt may be made in another.
        let joined = task.map(move |joined| {
            joined.unwrap_or_else(|lost| told.settle(Err(lost.to_string()), pause))
        });
        joined.boxed().shared()
    }
}

/// A connection over which the server has answered; behind sentinels also where the primary is.
async fn connect(
    origin: &ConnectionTarget,
) -> Result<(MultiplexedConnection, Option<Address>), String> {
    match origin {
        ConnectionTarget::Server(client) => connect_to(client)
            .await
            .map(|connection| (connection, None)),
        ConnectionTarget::Primary(sentinels) => {
            let primary = sentinels.connect().await?;
            Ok((primary.connection, Some(primary.address)))
        }
    }
}

/// Gives a connection up once the sentinels name another primary.
async fn watch(inner: Weak<ConnectionInner>, live: Established, primary: Address) {
    loop {
        sleep(PRIMARY_CHECK_INTERVAL).await;
        let Some(inner) = inner.upgrade().filter(|inner| inner.is_up(&live)) else {
            return;
        };
        let ConnectionTarget::Primary(sentinels) = &inner.origin else {
            return;
        };
        if sentinels.left_primary(&primary).await {
            return inner.close(&live, "the sentinels name another primary");
        }
    }
}

/// A connection over which this server has answered.
pub(super) async fn connect_to(client: &Client) -> Result<MultiplexedConnection, String> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    let connected = client
        .get_multiplexed_async_connection_with_config(&config)
        .await;
    let mut connection = connected.map_err(|error| describe_error(&error))?;
    let ping = redis::cmd("PING").query_async::<()>(&mut connection).await;
    ping.map_err(|error| describe_error(&error))
        .map(|()| connection)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.inner.shown).finish()
    }
}
