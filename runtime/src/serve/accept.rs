//! The accept loop. It replaces `axum::serve`, which sets no deadline for the head of a request, so
//! that a client that sends half a head would occupy a connection forever.

use core::convert::Infallible;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::first_byte_timeout::FirstByteTimeout;
use super::in_flight::{InFlightBody, InFlightCounter, InFlightRequest};
use super::request_checks::RequestChecks;

/// The time limits of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerTimeouts {
    /// The time limit for the head of a request. An idle HTTP/1 connection is closed after this
    /// time.
    pub(crate) head: Duration,
    /// The time limit for running requests after the server was asked to stop.
    pub(crate) grace: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            grace: Duration::from_secs(30),
        }
    }
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
    timeouts: ServerTimeouts,
    tracker: &TaskTracker,
) -> ShutdownOutcome {
    let server = Server {
        builder: builder(timeouts.head),
        connections: GracefulShutdown::new(),
        request_checks,
        stop: CancellationToken::new(),
        timeouts,
    };
    {
        // The loop uses one future for the signal, so that a signal during `accept` is not lost.
        let mut stopping = pin!(signals.requested());
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => server.serve_connection(stream, peer),
                    Err(error) => pause_after(&error).await,
                },
                () = &mut stopping => break,
            }
        }
    }
    // The listener is closed before the wait, so that new connections go to another instance.
    drop(listener);
    tokio::select! {
        () = server.finish(tracker) => ShutdownOutcome::Finished,
        () = sleep(timeouts.grace) => ShutdownOutcome::CutOff,
        () = signals.requested() => ShutdownOutcome::CutOff,
    }
}

struct Server {
    builder: Builder<TokioExecutor>,
    connections: GracefulShutdown,
    request_checks: RequestChecks,
    /// Cancelled when the server stops. It ends connections that hyper does not treat as idle.
    stop: CancellationToken,
    timeouts: ServerTimeouts,
}

impl Server {
    fn serve_connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Nagle's algorithm would delay the last packet of a response.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY for a connection");
        }
        let (request_checks, in_flight) = (self.request_checks.clone(), InFlightCounter::default());
        let stream =
            FirstByteTimeout::new(stream, self.timeouts.head, &self.stop, in_flight.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            handle_request(request_checks.clone(), in_flight.start(), request, peer)
        });
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let watched = self.connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, %peer, "a connection ended with an error");
            }
        });
    }

    /// Ends idle connections, then waits for all requests, and for runs that continue after their
    /// request has ended.
    async fn finish(self, tracker: &TaskTracker) {
        self.stop.cancel();
        self.connections.shutdown().await;
        // The tracker is closed after the connections, because their last requests may still start
        // runs.
        tracker.close();
        tracker.wait().await;
    }
}

fn builder(head: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head);
    builder
}

async fn handle_request(
    mut request_checks: RequestChecks,
    in_flight: InFlightRequest,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Result<http::Response<InFlightBody>, Infallible> {
    let mut request: Request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = request_checks.handle(request).await;
    Ok(response.map(|body| InFlightBody {
        body,
        _in_flight: in_flight,
    }))
}

/// Waits after a failed `accept`. A client that hung up before its connection was accepted needs no
/// wait. After any other error, such as too many open files, the next `accept` would fail at once.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!(%error, "cannot accept a connection; trying again in 1 s");
        // During the wait, some requests can end and close their files. The wait delays a shutdown
        // by at most 1 s.
        sleep(Duration::from_secs(1)).await;
    }
}
