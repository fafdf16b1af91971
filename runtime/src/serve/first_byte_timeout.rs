//! Closes connections that have no request: if the client sends nothing, or if the connection is
//! idle when the server stops.
//!
//! hyper sets its deadline for a request's head after it has detected the protocol, HTTP/1 or
//! HTTP/2, from the first bytes. Before that, the deadline of this module applies. When the server
//! stops, hyper closes idle connections, but waits for the rest of a head that has arrived in part.
//! This module ends such a connection.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::in_flight::InFlightCounter;

/// The connection preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time that a client has to complete a head after the server was stopped. It is long enough
/// for a head in several packets, and far below the grace period.
const LINGER: Duration = Duration::from_secs(1);

/// A stream with a deadline for its first bytes. Reading fails if the protocol is still unknown at
/// the deadline. After the server was stopped, reading ends if no request is in flight.
pub(super) struct FirstByteTimeout<S> {
    stream: S,
    protocol: Protocol,
    /// The deadline of the first bytes. After a stop, the end of the current [`LINGER`].
    timer: Option<Pin<Box<Sleep>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    in_flight: InFlightCounter,
    /// `true` while a write waits for the client. Such a connection is still sending a response.
    is_writing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// All bytes so far belong to the HTTP/2 preface. The number counts them.
    Unknown(usize),
    Http1,
    Http2,
}

impl<S> FirstByteTimeout<S> {
    pub(super) fn new(
        stream: S,
        deadline: Duration,
        stop: &CancellationToken,
        in_flight: InFlightCounter,
    ) -> Self {
        Self {
            stream,
            protocol: Protocol::Unknown(0),
            timer: Some(Box::pin(sleep(deadline))),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            in_flight,
            is_writing: false,
        }
    }

    /// Detects the protocol. The complete preface means HTTP/2. A byte that differs from the
    /// preface means HTTP/1.
    fn detect_protocol(&mut self, bytes: &[u8]) {
        let Protocol::Unknown(seen) = self.protocol else {
            return;
        };
        let expected = &PREFACE[seen..];
        let common = bytes.len().min(expected.len());
        self.protocol = match bytes[..common] == expected[..common] {
            false => Protocol::Http1,
            true if seen + common == PREFACE.len() => Protocol::Http2,
            true => Protocol::Unknown(seen + common),
        };
        if !matches!(self.protocol, Protocol::Unknown(_)) {
            self.timer = None;
        }
    }

    /// Decides whether a read that is not ready continues to wait, ends the stream or fails.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper ends HTTP/2 connections itself, with GOAWAY.
        if self.protocol != Protocol::Http2 && self.stopped.as_mut().poll(context).is_ready() {
            return self.end_if_idle(context);
        }
        match (&self.protocol, &mut self.timer) {
            (Protocol::Unknown(_), Some(timer)) => timer
                .as_mut()
                .poll(context)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    }

    /// Ends the stream of a stopped server after one [`LINGER`]. While a request is in flight,
    /// waits for another [`LINGER`].
    fn end_if_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The first call starts a timer, which replaces the deadline of the first bytes.
        if !matches!(self.protocol, Protocol::Http1) || self.timer.is_none() {
            self.protocol = Protocol::Http1;
            self.timer = Some(Box::pin(sleep(LINGER)));
        }
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if self.in_flight.is_empty() && !self.is_writing {
                return Poll::Ready(Ok(()));
            }
            // A running request, or a response that is still being sent, gets more time.
            timer.as_mut().reset(Instant::now() + LINGER);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() {
            return self.wait(context);
        }
        self.detect_protocol(&buffer.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.is_writing = polled.is_pending();
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.is_writing = polled.is_pending();
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn connection(
        stop: &CancellationToken,
        in_flight: &InFlightCounter,
    ) -> (DuplexStream, FirstByteTimeout<DuplexStream>) {
        let (client, server) = duplex(64);
        (
            client,
            FirstByteTimeout::new(server, DEADLINE, stop, in_flight.clone()),
        )
    }

    async fn read_after(first: &[u8], wait: Duration, then: &[u8]) -> io::Result<Vec<u8>> {
        let (mut client, mut server) =
            connection(&CancellationToken::new(), &InFlightCounter::default());
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.map(|_| all)
        });
        client.write_all(first).await?;
        sleep(wait).await;
        // This write fails if the server has closed the connection. Some callers test this.
        let _ = client.write_all(then).await;
        drop(client);
        reading.await.expect("no panic")
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_known_protocol_ends_at_the_deadline() {
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let read = read_after(first, DEADLINE * 2, b"x").await;
            assert_eq!(read.expect_err("too late").kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_known_protocol_has_no_first_byte_deadline() {
        for first in [&b"G"[..], b"POST", PREFACE] {
            let read = read_after(first, DEADLINE * 2, b"x").await;
            assert_eq!(read.expect("no deadline"), [first, b"x"].concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_connection_ends_when_no_request_is_in_flight() {
        let (stop, in_flight) = (CancellationToken::new(), InFlightCounter::default());
        let (mut client, mut server) = connection(&stop, &in_flight);
        client.write_all(b"GET").await.expect("room in the buffer");
        let request = in_flight.start();
        let mut first = [0; 3];
        server.read_exact(&mut first).await.expect("half a head");
        stop.cancel();
        let mut byte = [0];
        let waited = tokio::time::timeout(DEADLINE, server.read(&mut byte)).await;
        assert!(waited.is_err(), "a request is in flight");
        drop(request);
        let ended = tokio::time::timeout(DEADLINE, server.read(&mut byte)).await;
        assert_eq!(ended.expect("an end").expect("no error"), 0);
    }
}
