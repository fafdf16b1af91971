//! One connection, from its first byte to its end.

use core::convert::Infallible;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use http::{Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::bodies::{Http1Body, Http1ResponseBody, Http2Body, Http2ResponseBody};
use super::connection_state::{ConnectionState, InFlightRequest, NoRoom};
use super::request_checks::{MAX_HEADERS, MAX_TARGET, RequestChecks};
use super::socket::{Protocol, Socket};

/// The time that a client has to complete a head after the server was stopped. It is long enough
/// for a head in several packets, and far below the grace period.
const LINGER: Duration = Duration::from_secs(1);

/// The time in which the connection sends a response that has just ended.
const FLUSH_TIME: Duration = Duration::from_millis(100);

/// The maximum size of a head that hyper buffers. It is larger than the limits of
/// [`RequestChecks`], so that requests slightly over these limits get a problem document.
const MAX_HEAD: u32 = 64 << 10;

/// The maximum number of streams that a client can open at once on an HTTP/2 connection. Each takes
/// 3 KiB while its response waits for the client. RFC 9113 §6.5.2 recommends at least 100 streams,
/// but 100 streams of a client that reads nothing would take more than 300 KiB.
const MAX_STREAMS: u32 = 24;

/// The maximum number of streams of a trusted proxy.
const MAX_STREAMS_OF_PROXY: u32 = 200;

/// The request data that an HTTP/2 client may send for one stream before a handler reads it.
const STREAM_WINDOW: u32 = 128 << 10;

/// The request data that an HTTP/2 client may send for all its streams before handlers read it.
const CONNECTION_WINDOW: u32 = 256 << 10;

/// The response data of a connection that the system may buffer before it is sent. Without a limit,
/// the system buffers megabytes for a slow client. The client then takes so long to read a part of
/// them that the connection seems to make no progress.
#[cfg(target_os = "linux")]
const UNSENT_IN_SYSTEM: u32 = 64 << 10;

/// Limits the response data that the system buffers.
#[cfg(target_os = "linux")]
fn set_unsent_limit(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_IN_SYSTEM)
}

/// Other systems buffer less, or do not have this option.
#[cfg(not(target_os = "linux"))]
fn set_unsent_limit(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// hyper's settings and the time limits of connections.
#[derive(Debug, Clone)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    /// The time limit for a head and for an idle connection.
    head: Duration,
    /// The time limit for a client that does not read its response.
    response: Duration,
}

impl Protocols {
    pub(super) fn new(head: Duration, response: Duration) -> Self {
        const { assert!(MAX_TARGET + MAX_HEADERS < MAX_HEAD as usize) };
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(MAX_HEAD as usize);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(head)
            .max_header_list_size(MAX_HEAD)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_HEAD as usize);
        Self {
            http1,
            http2,
            head,
            response,
        }
    }

    /// Returns the settings of an HTTP/2 connection.
    fn http2(&self, is_trusted: bool) -> http2::Builder<TokioExecutor> {
        let mut http2 = self.http2.clone();
        let max = if is_trusted {
            MAX_STREAMS_OF_PROXY
        } else {
            MAX_STREAMS
        };
        http2.max_concurrent_streams(max);
        http2
    }

    /// The pause between two checks of a connection. A time limit can be exceeded by this time.
    fn check_interval(&self) -> Duration {
        (self.head.min(self.response) / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }
}

/// One accepted connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) state: Arc<ConnectionState>,
    pub(super) protocols: Arc<Protocols>,
    pub(super) request_checks: RequestChecks,
    /// Cancelled when the server stops.
    pub(super) stop: CancellationToken,
}

impl Connection {
    /// Serves the connection until it ends.
    pub(super) async fn serve(self) {
        let peer = self.peer;
        if let Err(error) = self.detect_and_serve().await {
            tracing::debug!(%error, %peer, "a connection ended with an error");
        }
    }

    async fn detect_and_serve(self) -> Result<(), axum::BoxError> {
        let Self {
            stream,
            peer,
            state,
            protocols,
            request_checks,
            stop,
        } = self;
        // Nagle's algorithm would delay the last packet of a response.
        if let Err(error) = stream
            .set_nodelay(true)
            .and_then(|()| set_unsent_limit(&stream))
        {
            tracing::debug!(%error, "cannot set the options of a connection");
        }
        let stream = Arc::new(stream);
        let mut socket = Socket::new(Arc::clone(&stream), Arc::clone(&state));
        let protocol = {
            let mut detecting = pin!(timeout(protocols.head, socket.detect_protocol()));
            tokio::select! {
                detected = &mut detecting => detected??,
                () = state.evicted.cancelled() => return Ok(()),
                // The request of a new connection may still be on its way.
                () = stop.cancelled() => timeout(LINGER, detecting).await???,
            }
        };
        // A trusted proxy sends the requests of many clients over one connection. One client that
        // does not read must not stop the others, so the proxy has to bound its clients.
        let is_trusted = request_checks.trusts(peer.ip());
        let handler = Handler {
            request_checks,
            state: Arc::clone(&state),
            peer,
            is_trusted,
        };
        let watch = Watch {
            idle: (protocol == Protocol::Http2).then_some(protocols.head),
            response: (!is_trusted).then_some(protocols.response),
            interval: protocols.check_interval(),
            state,
            stop,
        };
        let socket = TokioIo::new(socket);
        match protocol {
            Protocol::Http1 => {
                let service = service_fn(move |request| handler.clone().handle_http1(request));
                let connection = protocols.http1.serve_connection(socket, service);
                let state = Arc::clone(&watch.state);
                // The connection is dropped here, with its buffers.
                let ended = watch.run(connection).await;
                if ended.is_some() && state.is_partly_read() {
                    discard(&stream).await;
                }
                ended.transpose()?;
            }
            Protocol::Http2 => {
                // The future of a handler is much larger than the rest of a stream. In a box, its
                // memory is free as soon as the response is made.
                let service =
                    service_fn(move |request| Box::pin(handler.clone().handle_http2(request)));
                let connection = protocols
                    .http2(is_trusted)
                    .serve_connection(socket, service);
                watch.run(connection).await.transpose()?;
            }
        }
        Ok(())
    }
}

/// The longest time for which a closed connection still discards data.
const MAX_CLOSING_TIME: Duration = Duration::from_secs(2);

/// Closes a connection for writing, and discards what the client still sends. If the socket were
/// closed with unread data, the system would reset the connection, and the client could lose the
/// response.
async fn discard(stream: &TcpStream) {
    // An error means that the client has disconnected.
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let mut discarded = vec![0; 4096];
    let until_end = async {
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut discarded) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    };
    // After the timeout, the connection is reset.
    let _ = timeout(MAX_CLOSING_TIME, until_end).await;
}

/// Handles the requests of a connection.
#[derive(Clone)]
struct Handler {
    request_checks: RequestChecks,
    state: Arc<ConnectionState>,
    peer: SocketAddr,
    is_trusted: bool,
}

type Handled<B> = Result<Response<B>, Infallible>;

impl Handler {
    /// Handles an HTTP/1 request. It is in flight from this call on, and not from the first poll of
    /// the future.
    fn handle_http1(
        mut self,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Handled<Http1ResponseBody>> + use<> {
        let in_flight = InFlightRequest::start(&self.state);
        let is_whole = request.body().is_end_stream();
        self.state
            .begin_http1(is_whole, request.version() == Version::HTTP_11);
        async move {
            let request = request.map(|body| {
                if is_whole {
                    return Body::empty();
                }
                Body::new(Http1Body::new(body, Arc::clone(&self.state)))
            });
            let response = self.respond(request).await;
            self.state.begin_response();
            Ok(response.map(|body| Http1ResponseBody {
                body,
                _in_flight: in_flight,
            }))
        }
    }

    /// Handles an HTTP/2 request, which is in flight from this call on.
    fn handle_http2(
        mut self,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Handled<Http2ResponseBody>> + use<> {
        let in_flight = InFlightRequest::start(&self.state);
        async move {
            let mut unread = None;
            let request = request.map(|body| {
                if body.is_end_stream() {
                    return Body::empty();
                }
                let (body, place) = Http2Body::new(body);
                unread = Some(place);
                Body::new(body)
            });
            let running = if self.is_trusted {
                None
            } else {
                Some(self.state.wait_for_room().await)
            };
            let response = match &running {
                Some(Err(NoRoom)) => self.request_checks.refuse_overload(request).await,
                // Its future is large. A request that waits for room does not need it.
                _ => Box::pin(self.respond(request)).await,
            };
            let response = response.map(|body| Http2ResponseBody::new(body, in_flight, unread));
            if let Some(Ok(running)) = running {
                running.end(response.body().in_memory());
            }
            Ok(response)
        }
    }

    async fn respond(&mut self, mut request: Request) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.request_checks.handle(request).await
    }
}

/// Watches a connection, and ends it in time.
struct Watch {
    /// The time limit for an idle connection. `None` for HTTP/1, where hyper has this limit.
    idle: Option<Duration>,
    /// The time limit for a client that does not read its response.
    response: Option<Duration>,
    interval: Duration,
    state: Arc<ConnectionState>,
    stop: CancellationToken,
}

impl Watch {
    /// Runs the connection to its end. Returns `None` if it did not end by itself. After a stop,
    /// requests in flight are completed. A connection without one ends after [`LINGER`].
    async fn run<C: GracefulConnection>(self, connection: C) -> Option<Result<(), C::Error>> {
        let Self { state, stop, .. } = &self;
        let mut connection = pin!(connection);
        let (mut stopped, mut evicted) = (pin!(stop.cancelled()), pin!(state.evicted.cancelled()));
        let mut check = pin!(sleep(self.interval));
        let (mut is_ending, mut was_stalled) = (false, false);
        loop {
            // The time after which a connection without a request ends.
            let linger = tokio::select! {
                biased;
                ended = &mut connection => return Some(ended),
                () = &mut stopped, if !is_ending => LINGER,
                () = &mut evicted, if !is_ending => Duration::ZERO,
                () = &mut check => {
                    let is_stalled = self.is_stalled();
                    // After a pause of the process, the client gets the time until the next check.
                    if is_stalled && was_stalled {
                        tracing::debug!("a client did not read its response");
                        return None;
                    }
                    was_stalled = is_stalled;
                    if is_ending && state.idle_for().is_some_and(|idle| idle >= FLUSH_TIME) {
                        return None;
                    }
                    if is_ending || !self.is_idle_too_long() {
                        check.as_mut().reset(Instant::now() + self.interval.min(LINGER));
                        continue;
                    }
                    LINGER
                }
            };
            is_ending = true;
            connection.as_mut().graceful_shutdown();
            check.as_mut().reset(Instant::now() + linger);
        }
    }

    fn is_stalled(&self) -> bool {
        let stalled = self.response.zip(self.state.stalled_for());
        stalled.is_some_and(|(limit, stalled)| stalled >= limit)
    }

    fn is_idle_too_long(&self) -> bool {
        let idle = self.idle.zip(self.state.idle_for());
        idle.is_some_and(|(limit, idle)| idle >= limit)
    }
}
