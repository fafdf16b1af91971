//! The accept loop. It replaces `axum::serve`, which sets no time limits and no limit on the number
//! of connections, so that a client could occupy connections forever.

use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Protocols};
use super::connection_limit::{ConnectionLimit, ConnectionPermit};
use super::request_checks::RequestChecks;

use crate::clock::{Clock, SystemClock};
use crate::log_throttle::LogThrottle;

/// The limits of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerLimits {
    /// The time limit for the head of a request. An idle connection is closed after this time.
    pub(crate) head: Duration,
    /// The time limit for a client that does not read its response.
    pub(crate) response: Duration,
    /// The time limit for running requests after the server was asked to stop.
    pub(crate) grace: Duration,
    /// The maximum number of connections.
    pub(crate) connections: usize,
}

/// The signals that stop a server.
pub(crate) trait ShutdownSignals: Send {
    /// Completes at the next signal. A second call waits for the signal after that.
    fn requested(&mut self) -> impl Future<Output = ()> + Send;
}

/// The result of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownOutcome {
    /// Every request was finished.
    Finished,
    /// Requests were still running after the grace period, or at a second signal.
    CutOff,
}

/// Serves until the first signal, then waits for running requests. Returns when they have ended,
/// when the grace period has passed, or at a second signal.
pub(crate) async fn serve_until(
    listener: TcpListener,
    request_checks: RequestChecks,
    mut signals: impl ShutdownSignals,
    limits: ServerLimits,
    tracker: &TaskTracker,
) -> ShutdownOutcome {
    let server = Server {
        protocols: Arc::new(Protocols::new(limits.head, limits.response)),
        limit: ConnectionLimit::new(limits.connections),
        connections: TaskTracker::new(),
        request_checks,
        stop: CancellationToken::new(),
        warnings: LogThrottle::new(Duration::from_mins(1)),
        clock: SystemClock::new(),
    };
    tokio::select! {
        never = server.accept(&listener) => match never {},
        () = pin!(signals.requested()) => {}
    }
    // The listener is closed before the wait, so that new connections go to another instance.
    if let Err(error) = server.accept_waiting(listener) {
        tracing::debug!(%error, "waiting connections were not accepted");
    }
    tokio::select! {
        () = server.finish(tracker) => ShutdownOutcome::Finished,
        () = sleep(limits.grace) => ShutdownOutcome::CutOff,
        () = signals.requested() => ShutdownOutcome::CutOff,
    }
}

struct Server {
    protocols: Arc<Protocols>,
    limit: ConnectionLimit,
    /// The tasks of the open connections.
    connections: TaskTracker,
    request_checks: RequestChecks,
    /// Cancelled when the server stops.
    stop: CancellationToken,
    warnings: LogThrottle,
    clock: SystemClock,
}

impl Server {
    /// Accepts connections until the future is dropped.
    async fn accept(&self, listener: &TcpListener) -> core::convert::Infallible {
        loop {
            // While no permit is free, new connections wait in the queue of the listener.
            let permit = self.limit.take().await;
            match listener.accept().await {
                Ok((stream, peer)) => self.serve_connection(stream, peer, permit),
                Err(error) => self.recover(&error).await,
            }
        }
    }

    /// Accepts the connections that wait in the queue of the listener, and closes the listener. They
    /// would be reset if the listener were closed without this.
    fn accept_waiting(&self, listener: TcpListener) -> io::Result<()> {
        // A listener of tokio returns `Pending` until its first event, even if connections wait.
        let listener = listener.into_std()?;
        while let Some(permit) = self.limit.try_take() {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_client(&error) => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            self.serve_connection(TcpStream::from_std(stream)?, peer, permit);
        }
        Ok(())
    }

    fn serve_connection(&self, stream: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
        let connection = Connection {
            stream,
            peer,
            state: Arc::clone(&permit.state),
            protocols: Arc::clone(&self.protocols),
            request_checks: self.request_checks.clone(),
            stop: self.stop.clone(),
        };
        self.connections.spawn(async move {
            let _permit = permit;
            connection.serve().await;
        });
    }

    /// Recovers from a failed `accept`. A client that hung up before its connection was accepted
    /// needs no recovery. After any other error, such as too many open files, the next `accept`
    /// would fail at once.
    async fn recover(&self, error: &io::Error) {
        if is_of_client(error) {
            return;
        }
        if self.warnings.add(self.clock.now()).is_some() {
            tracing::error!(%error, "cannot accept connections; closing idle ones");
        }
        self.limit.evict_idle(EVICTED_AT_ERROR);
        sleep(PAUSE_AT_ERROR).await;
    }

    /// Ends idle connections, then waits for all requests, and for runs that continue after their
    /// request has ended.
    async fn finish(self, tracker: &TaskTracker) {
        self.stop.cancel();
        self.connections.close();
        self.connections.wait().await;
        // The tracker is closed after the connections, because their last requests may still start
        // runs.
        tracker.close();
        tracker.wait().await;
    }
}

/// Returns `true` if the client hung up before its connection was accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// The number of idle connections that are closed after a failed `accept`.
const EVICTED_AT_ERROR: usize = 16;

/// The pause after a failed `accept`. In this time, files of other connections are closed.
const PAUSE_AT_ERROR: Duration = Duration::from_millis(50);
