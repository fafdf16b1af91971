//! The socket of a connection: the detection of the protocol, and clients that close it.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connection_state::ConnectionState;

/// The connection preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An interim response. Every HTTP/1.1 client ignores it if it does not wait for it (RFC 9110
/// §15.2).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The socket of a connection.
///
/// # Clients that close their side
///
/// A client may close its side of the connection after a whole request, and still wait for the
/// response. A client that has disconnected looks the same: in both cases the socket has no more
/// data. hyper would drop the request in both cases.
///
/// So the socket hides the end of the data from hyper while a whole request runs. If the request
/// takes longer than [`SETTLE`], the socket sends `100 Continue` to find out which case it is. If the
/// client has disconnected, its system responds with a reset, and the request is dropped. Otherwise
/// the client waits for its response.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    is_http1: bool,
    state: Arc<ConnectionState>,
    /// The bytes from which the protocol was detected.
    first: FirstBytes,
    end: End,
}

/// The progress of a client that closes its side.
enum End {
    /// The client has not closed its side.
    Open,
    /// The client has closed its side. The last data may be on its way through hyper to the
    /// handler, so it is not clear yet that the request is whole.
    Closed(Pin<Box<Sleep>>),
    /// The client has closed its side, and the request may be whole. The future waits for a reset.
    Probed(BoxFuture<'static, ()>),
}

/// The time in which the end of a body gets through to the handler that reads it. Most responses are
/// sent in this time.
const SETTLE: Duration = Duration::from_millis(50);

/// Bytes that were read from the stream, but not by hyper.
struct FirstBytes {
    bytes: [u8; PREFACE.len()],
    taken: usize,
    filled: usize,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>, state: Arc<ConnectionState>) -> Self {
        Self {
            stream,
            is_http1: false,
            state,
            first: FirstBytes {
                bytes: [0; PREFACE.len()],
                taken: 0,
                filled: 0,
            },
            end: End::Open,
        }
    }

    /// Detects the protocol from the first bytes. The complete preface means HTTP/2. A byte that
    /// differs from the preface means HTTP/1.
    ///
    /// # Errors
    ///
    /// Fails if the client closes the connection before the protocol is known.
    pub(super) async fn detect_protocol(&mut self) -> io::Result<Protocol> {
        loop {
            self.stream.readable().await?;
            let FirstBytes { bytes, filled, .. } = &mut self.first;
            match self.stream.try_read(&mut bytes[*filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => *filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if bytes[..*filled] != PREFACE[..*filled] {
                self.is_http1 = true;
                self.state.read_data();
                return Ok(Protocol::Http1);
            }
            if *filled == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
        }
    }

    fn poll_read_stream(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    fn poll_write_stream(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let ready = self.stream.poll_write_ready(context)?;
            if ready.is_pending() {
                self.state.wrote(true);
                return Poll::Pending;
            }
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.state.wrote(false);
                    if !matches!(self.end, End::Open) {
                        // The end of the data is hidden until everything is sent.
                        context.waker().wake_by_ref();
                    }
                    return Poll::Ready(written);
                }
            }
        }
    }

    /// Sends a probe, and returns a future that waits for the reset of a client that has
    /// disconnected.
    fn probe_client(&self) -> BoxFuture<'static, ()> {
        if self.state.accepts_interim()
            && let Ok(sent) = self.stream.try_write(CONTINUE)
            && sent < CONTINUE.len()
        {
            // Nothing can follow a part of a probe. This client has not read its last response.
            return Box::pin(async {});
        }
        // If the probe cannot be sent now, the client is treated as one that still waits.
        let stream = Arc::clone(&self.stream);
        Box::pin(async move {
            // An error of the runtime means the same as an error of the socket.
            let _ = stream.ready(Interest::ERROR).await;
        })
    }

    /// Decides about a read after the client has closed its side: hyper gets the end of the data,
    /// the reset of the client, or waits.
    fn poll_read_after_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.is_idle() {
            return Poll::Ready(Ok(()));
        }
        if let End::Closed(settle) = &mut self.end {
            ready!(settle.as_mut().poll(context));
            if self.is_body_missing() || !self.is_http1 {
                return Poll::Ready(Ok(()));
            }
            self.end = End::Probed(self.probe_client());
        }
        if let End::Probed(reset) = &mut self.end
            && reset.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if !self.is_body_missing() {
            return Poll::Pending;
        }
        // The handler has begun to read the body. The last data may still be on its way to it.
        let mut settle = Box::pin(sleep(SETTLE));
        let polled = settle.as_mut().poll(context).map(Ok);
        self.end = End::Closed(settle);
        polled
    }

    /// Returns `true` if the handler waits for a part of the body, although the client has closed
    /// its side.
    fn is_body_missing(&self) -> bool {
        self.state.is_body_awaited() && !self.state.has_whole_request()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let FirstBytes {
            bytes,
            taken,
            filled,
        } = &mut self.first;
        if taken < filled {
            let count = buffer.remaining().min(*filled - *taken);
            buffer.put_slice(&bytes[*taken..][..count]);
            *taken += count;
            return Poll::Ready(Ok(()));
        }
        if matches!(self.end, End::Open) {
            if ready!(self.poll_read_stream(context, buffer))? > 0 || buffer.remaining() == 0 {
                if self.is_http1 {
                    self.state.read_data();
                }
                return Poll::Ready(Ok(()));
            }
            self.end = End::Closed(Box::pin(sleep(SETTLE)));
        }
        self.poll_read_after_end(context)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_stream(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_stream(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}
