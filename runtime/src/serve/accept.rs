//! The accept loop.
//!
//! `axum::serve` sets no deadline for a request's head, so that half a head holds a connection for
//! ever; this loop does.

use core::convert::Infallible;
use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;
use tower_service::Service;

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
        Self { head: Duration::from_secs(30), grace: Duration::from_secs(30) }
    }
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// Every request got its end.
    Finished,
    /// Requests did not end in time.
    CutOff,
}

/// Serves until `stop`, then lets what runs end.
pub(crate) async fn until(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    patience: Patience,
    tracker: &TaskTracker,
) -> Served {
    let connections = GracefulShutdown::new();
    let builder = builder(patience.head);
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY could not be set");
                    }
                    connection(&builder, &connections, &router, Opening::new(stream, patience.head), peer);
                }
                Err(error) => pause_after(&error).await,
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    let end = Instant::now() + patience.grace;
    let closed = timeout_at(end, connections.shutdown()).await.is_ok();
    tracker.close();
    let finished = timeout_at(end, tracker.wait()).await.is_ok();
    if closed && finished { Served::Finished } else { Served::CutOff }
}

fn builder(head: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(head);
    builder
}

fn connection(
    builder: &Builder<TokioExecutor>,
    connections: &GracefulShutdown,
    router: &Router,
    stream: Opening<TcpStream>,
    peer: SocketAddr,
) {
    let router = router.clone();
    let service = service_fn(move |request: http::Request<Incoming>| answer(router.clone(), request, peer));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    });
}

async fn answer(
    mut router: Router,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Result<axum::response::Response, Infallible> {
    let mut request: Request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.call(request).await
}

/// A connection that was gone before it was accepted costs nothing; anything else, such as too many
/// open files, would fail again at once.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "a connection could not be accepted");
        sleep(Duration::from_secs(1)).await;
    }
}
