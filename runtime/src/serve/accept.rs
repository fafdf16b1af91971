//! The accept loop.
//!
//! `axum::serve` sets no deadline for a request's head, so that half a head holds a connection for
//! ever; this loop does.

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

/// How long a server waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerTimeouts {
    /// For the head of a request, and so with an idle connection.
    pub(crate) head: Duration,
    /// For requests to end, once it stops.
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

/// What asks a server to stop.
pub(crate) trait ShutdownSignals: Send {
    /// Returns when it is asked, or asked again.
    fn requested(&mut self) -> impl Future<Output = ()> + Send;
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownOutcome {
    /// Every request got its end.
    Finished,
    /// Requests did not end in time.
    CutOff,
}

/// Serves until it is asked to stop, then lets what runs end; asked again, it cuts that off.
pub(crate) async fn serve_until(
    listener: TcpListener,
    front: RequestChecks,
    mut stop: impl ShutdownSignals,
    timeouts: ServerTimeouts,
    tracker: &TaskTracker,
) -> ShutdownOutcome {
    let server = Server {
        builder: builder(timeouts.head),
        connections: GracefulShutdown::new(),
        front,
        stop: CancellationToken::new(),
        patience: timeouts,
    };
    {
        let mut stopping = pin!(stop.requested());
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => server.connect(stream, peer),
                    Err(error) => pause_after(&error).await,
                },
                () = &mut stopping => break,
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = server.finish(tracker) => ShutdownOutcome::Finished,
        () = sleep(timeouts.grace) => ShutdownOutcome::CutOff,
        () = stop.requested() => ShutdownOutcome::CutOff,
    }
}

struct Server {
    builder: Builder<TokioExecutor>,
    connections: GracefulShutdown,
    front: RequestChecks,
    stop: CancellationToken,
    patience: ServerTimeouts,
}

impl Server {
    fn connect(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (front, flights) = (self.front.clone(), InFlightCounter::default());
        let stream = FirstByteTimeout::new(stream, self.patience.head, &self.stop, flights.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            answer(front.clone(), flights.start(), request, peer)
        });
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let watched = self.connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        });
    }

    /// Returns when every request has its end, and what runs under a key has, too.
    async fn finish(self, tracker: &TaskTracker) {
        self.stop.cancel();
        self.connections.shutdown().await;
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

async fn answer(
    mut front: RequestChecks,
    flight: InFlightRequest,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Result<http::Response<InFlightBody>, Infallible> {
    let mut request: Request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = front.answer(request).await;
    Ok(response.map(|body| InFlightBody {
        body,
        _flight: flight,
    }))
}

/// A connection that was gone before it was accepted costs nothing; anything else, such as too many
/// open files, would fail again at once.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!(%error, "a connection could not be accepted");
        sleep(Duration::from_secs(1)).await;
    }
}
