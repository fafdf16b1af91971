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

use super::flight::{Flight, Flights, InFlight};
use super::front::Front;
use super::opening::Opening;

/// How long a server waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the head of a request, and so with an idle connection.
    pub(crate) head: Duration,
    /// For requests to end, once it stops.
    pub(crate) grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            grace: Duration::from_secs(30),
        }
    }
}

/// What asks a server to stop.
pub(crate) trait Stop: Send {
    /// Returns when it is asked, or asked again.
    fn asked(&mut self) -> impl Future<Output = ()> + Send;
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// Every request got its end.
    Finished,
    /// Requests did not end in time.
    CutOff,
}

/// Serves until it is asked to stop, then lets what runs end; asked again, it cuts that off.
pub(crate) async fn until(
    listener: TcpListener,
    front: Front,
    mut stop: impl Stop,
    patience: Patience,
    tracker: &TaskTracker,
) -> Served {
    let server = Server {
        builder: builder(patience.head),
        connections: GracefulShutdown::new(),
        front,
        stop: CancellationToken::new(),
        patience,
    };
    {
        let mut stopping = pin!(stop.asked());
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
        () = server.finish(tracker) => Served::Finished,
        () = sleep(patience.grace) => Served::CutOff,
        () = stop.asked() => Served::CutOff,
    }
}

struct Server {
    builder: Builder<TokioExecutor>,
    connections: GracefulShutdown,
    front: Front,
    stop: CancellationToken,
    patience: Patience,
}

impl Server {
    fn connect(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (front, flights) = (self.front.clone(), Flights::default());
        let stream = Opening::new(stream, self.patience.head, &self.stop, flights.clone());
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
    mut front: Front,
    flight: Flight,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Result<http::Response<InFlight>, Infallible> {
    let mut request: Request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = front.answer(request).await;
    Ok(response.map(|body| InFlight {
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
