//! A connection to one server, which all calls share and which reconnects after a loss.
//!
//! A call that was not sent and a call without a reply fail with different errors. Only a call
//! without a reply may have had an effect.
//!
//! If calls wait and no reply comes for a second, the connection is checked with a `PING`. If the
//! `PING` has no reply either, the connection is closed. A server that is stopped or cut off from
//! the network does not close the connection itself.

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

/// The server of a connection.
#[derive(Clone)]
pub(super) enum ConnectionTarget {
    /// A fixed server.
    Server(Client),
    /// The server that is the primary when the connection is made.
    Primary(Arc<Sentinels>),
}

/// A connection to one server. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    inner: Arc<ConnectionInner>,
}

/// The time that a silent connection has to reply to a `PING`.
const PING_TIMEOUT: Duration = Duration::from_millis(100);
/// The interval at which the sentinels are asked for the primary. A replaced primary can still get
/// writes during this interval. These writes will be lost.
const PRIMARY_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The time that an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

impl ConnectionTarget {
    /// Returns a copy of the target. If the target has sentinels, the copy opens separate
    /// connections to the sentinels.
    fn with_own_connections(&self) -> Self {
        match self {
            Self::Server(client) => Self::Server(client.clone()),
            Self::Primary(sentinels) => Self::Primary(Arc::new(sentinels.with_own_connections())),
        }
    }
}

impl Connection {
    /// Creates a connection that connects with its first call, in the runtime of that call.
    pub(super) fn new(target: ConnectionTarget, display_name: String) -> Self {
        let state = Mutex::new(ConnectionState::Down {
            retry_at: Instant::now(),
            next_pause: Duration::ZERO,
            reason: None,
        });
        Self {
            inner: Arc::new(ConnectionInner {
                target,
                display_name,
                state,
                created_at: Instant::now(),
            }),
        }
    }

    /// Creates a second connection to the same server.
    pub(super) fn with_own_connection(&self) -> Self {
        let ConnectionInner {
            target,
            display_name,
            ..
        } = &*self.inner;
        Self::new(target.with_own_connections(), display_name.clone())
    }

    /// Returns `true` if the connection is established and not known to be lost.
    pub(super) fn is_up(&self) -> bool {
        self.inner.established().is_some()
    }

    /// Sends a command and returns the reply.
    pub(super) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
        when_disconnected: WhenDisconnected,
    ) -> Result<Value, Failure> {
        let established = self.wait_until_ready(deadline, when_disconnected).await?;
        let mut connection = established.connection.clone();
        self.reply(&established, deadline, command.query_async(&mut connection))
            .await
    }

    /// Sends a command after `ASKING`, to a node that is importing the slot.
    pub(super) async fn call_asking(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let established = self
            .wait_until_ready(deadline, WhenDisconnected::Fail)
            .await?;
        let mut connection = established.connection.clone();
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        // `ASKING` applies to the next command of the connection. The two commands are sent in one
        // piece, so that no command of another call comes between them.
        let reply =
            connection
                .send_packed_commands(&both, 1, 1)
                .map(|replies| match replies?.pop() {
                    Some(reply) => reply.extract_error(),
                    None => Ok(Value::Nil),
                });
        self.reply(&established, deadline, reply).await
    }

    /// Waits until the connection is established, and returns it.
    pub(super) async fn wait_until_ready(
        &self,
        deadline: Instant,
        when_disconnected: WhenDisconnected,
    ) -> Result<Established, Failure> {
        match timeout_at(deadline, self.established(when_disconnected)).await {
            Ok(Ok(established)) => Ok(established),
            Ok(Err(reason)) => Err(Failure::NotSent(reason.to_string())),
            Err(_) => Err(Failure::NotSent(String::from(
                "no connection before the deadline",
            ))),
        }
    }

    /// Waits for the reply to a call on this connection.
    async fn reply(
        &self,
        established: &Established,
        deadline: Instant,
        reply: impl Future<Output = RedisResult<Value>>,
    ) -> Result<Value, Failure> {
        self.inner.note_sent(established);
        match timeout_at(deadline, reply).await {
            Ok(reply) => {
                established.waiting_since.store(0, Ordering::Relaxed);
                reply.map_err(|error| self.failure(established, error))
            }
            Err(_) => {
                if self.inner.is_silent(established) {
                    self.inner.close(established, SILENT);
                }
                Err(Failure::TimedOut(String::from(
                    "no reply before the deadline",
                )))
            }
        }
    }

    /// Classifies the error of a call. Closes the connection if the error means that it can no
    /// longer be used.
    fn failure(&self, established: &Established, error: RedisError) -> Failure {
        let lost =
            error.is_connection_dropped() || error.is_io_error() || error.is_unrecoverable_error();
        if lost {
            let reason = describe_error(&error);
            self.inner.close(established, &reason);
            return Failure::Lost(reason);
        }
        // The server is now a replica. A new connection may reach the new primary.
        if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
            self.inner
                .close(established, "the server has become a replica");
        }
        Failure::Refused(error)
    }

    async fn established(
        &self,
        when_disconnected: WhenDisconnected,
    ) -> Result<Established, Arc<str>> {
        loop {
            self.check_silent().await;
            match self.established_or_attempt(when_disconnected).await {
                Err(_) if when_disconnected == WhenDisconnected::WaitUntilDeadline => {
                    sleep_until(self.inner.retry_at()).await;
                }
                result => return result,
            }
        }
    }

    /// Checks a silent connection with a `PING`, and closes it if the `PING` has no reply.
    ///
    /// Silence is not enough to close a connection: a cancelled call never resets `waiting_since`,
    /// although the server may have replied.
    async fn check_silent(&self) {
        let Some(established) = self
            .inner
            .established()
            .filter(|established| self.inner.is_silent(established))
        else {
            return;
        };
        let (ping, mut connection) = (redis::cmd("PING"), established.connection.clone());
        match timeout(PING_TIMEOUT, ping.query_async::<()>(&mut connection)).await {
            Ok(Ok(())) => established.waiting_since.store(0, Ordering::Relaxed),
            _ => self.inner.close(&established, SILENT),
        }
    }

    /// Returns the established connection, or the connection of the running attempt. Fails during
    /// the pause after a failed attempt.
    async fn established_or_attempt(
        &self,
        when_disconnected: WhenDisconnected,
    ) -> Result<Established, Arc<str>> {
        // The lock must be released before the attempt is awaited, because the attempt takes the
        // lock at its end.
        let (attempt, last_failure) = match &mut *self.inner.lock() {
            ConnectionState::Up(established) => return Ok(established.clone()),
            ConnectionState::Connecting {
                attempt,
                last_failure,
            } => (attempt.clone(), last_failure.clone()),
            ConnectionState::Down {
                retry_at,
                reason: Some(reason),
                ..
            } if Instant::now() < *retry_at => {
                return Err(Arc::clone(reason));
            }
            state @ ConnectionState::Down { .. } => self.begin_attempt(state),
        };
        match last_failure {
            // The call does not wait, but polls the attempt once. If the task of the attempt was
            // lost with its runtime, this poll settles the attempt, and the next call begins
            // another one.
            Some(reason) if when_disconnected == WhenDisconnected::Fail => {
                attempt.now_or_never().unwrap_or(Err(reason))
            }
            _ => attempt.await,
        }
    }

    /// Begins an attempt to connect. The caller holds the lock, so the attempt cannot settle before
    /// the state is `Connecting`.
    fn begin_attempt(&self, state: &mut ConnectionState) -> (Attempt, Option<Arc<str>>) {
        let (pause, last_failure) = match state {
            ConnectionState::Down {
                next_pause, reason, ..
            } => (*next_pause, reason.take()),
            ConnectionState::Up(_) | ConnectionState::Connecting { .. } => (Duration::ZERO, None),
        };
        let attempt = self.attempt(pause);
        *state = ConnectionState::Connecting {
            attempt: attempt.clone(),
            last_failure: last_failure.clone(),
        };
        (attempt, last_failure)
    }

    /// Connects in its own task, so that a caller whose deadline passes does not cancel the attempt
    /// for other callers.
    fn attempt(&self, pause: Duration) -> Attempt {
        let (inner, for_lost_task) = (Arc::clone(&self.inner), Arc::clone(&self.inner));
        let task = tokio::spawn(async move {
            let connected = timeout(CONNECT_TIMEOUT, connect(&inner.target)).await;
            let connected = connected
                .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}")));
            let (connection, primary) = connected.map_or_else(
                |reason| (Err(reason), None),
                |(connection, primary)| (Ok(connection), primary),
            );
            let established = inner.settle(connection, pause)?;
            if let Some(primary) = primary {
                tokio::spawn(watch_primary(
                    Arc::downgrade(&inner),
                    established.clone(),
                    primary,
                ));
            }
            Ok(established)
        });
        // If the runtime of the task ends, the attempt fails. The next attempt may run in another
        // runtime.
        let joined = task.map(move |joined| {
            joined.unwrap_or_else(|lost| for_lost_task.settle(Err(lost.to_string()), pause))
        });
        joined.boxed().shared()
    }
}

const SILENT: &str = "the server has sent no reply for a second";

/// Connects and checks that the server replies. With sentinels also returns the address of the
/// primary.
async fn connect(
    target: &ConnectionTarget,
) -> Result<(MultiplexedConnection, Option<Address>), String> {
    match target {
        ConnectionTarget::Server(client) => connect_to(client)
            .await
            .map(|connection| (connection, None)),
        ConnectionTarget::Primary(sentinels) => {
            let primary = sentinels.connect().await?;
            Ok((primary.connection, Some(primary.address)))
        }
    }
}

/// Closes a connection when the sentinels name another primary.
///
/// The task has only a weak reference to the connection, so that it ends when the store is dropped.
async fn watch_primary(inner: Weak<ConnectionInner>, established: Established, primary: Address) {
    loop {
        sleep(PRIMARY_CHECK_INTERVAL).await;
        let Some(inner) = inner
            .upgrade()
            .filter(|inner| inner.is_in_use(&established))
        else {
            return;
        };
        let ConnectionTarget::Primary(sentinels) = &inner.target else {
            return;
        };
        if sentinels.name_another_primary(&primary).await {
            return inner.close(&established, "the sentinels name another primary");
        }
    }
}

/// Connects to a server and checks that it replies to a `PING`.
pub(super) async fn connect_to(client: &Client) -> Result<MultiplexedConnection, String> {
    // The client has no timeouts, because each call has its own deadline. The pipeline accepts
    // 1,024 commands that are not written yet. Further calls wait.
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
        f.debug_tuple("Connection")
            .field(&self.inner.display_name)
            .finish()
    }
}
