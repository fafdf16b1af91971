//! A connection that has no request: one whose client says nothing, and one that is left when the
//! server stops.
//!
//! hyper sets its deadline for a request's head once it knows which HTTP is spoken, which it learns
//! from the first bytes; until then this one holds. When the server stops, hyper closes idle
//! connections and waits for half a head; here that is taken for the end.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::in_flight::InFlightCounter;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the rest of a head is waited for, once the server stops.
const LINGER: Duration = Duration::from_secs(1);

/// A stream that fails where its first bytes do not tell in time what is spoken, and that ends
/// where nothing is under way once the server stops.
pub(super) struct FirstByteTimeout<S> {
    stream: S,
    spoken: Protocol,
    timer: Option<Pin<Box<Sleep>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    flights: InFlightCounter,
    writing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// So many bytes of the preface have come.
    Unknown(usize),
    Http1,
    Http2,
}

impl<S> FirstByteTimeout<S> {
    pub(super) fn new(
        stream: S,
        deadline: Duration,
        stop: &CancellationToken,
        flights: InFlightCounter,
    ) -> Self {
        Self {
            stream,
            spoken: Protocol::Unknown(0),
            timer: Some(Box::pin(sleep(deadline))),
            stopped: Box::pin(stop.clone().cancelled_owned()),
            flights,
            writing: false,
        }
    }

    /// Notes whether the bytes so far tell: the whole preface, or anything else.
    fn note(&mut self, bytes: &[u8]) {
        let Protocol::Unknown(seen) = self.spoken else {
            return;
        };
        let expected = &PREFACE[seen..];
        let common = bytes.len().min(expected.len());
        self.spoken = match bytes[..common] == expected[..common] {
            false => Protocol::Http1,
            true if seen + common == PREFACE.len() => Protocol::Http2,
            true => Protocol::Unknown(seen + common),
        };
        if !matches!(self.spoken, Protocol::Unknown(_)) {
            self.timer = None;
        }
    }

    /// What a read that would wait does instead: nothing, mostly.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.spoken != Protocol::Http2 && self.stopped.as_mut().poll(context).is_ready() {
            return self.end_if_idle(context);
        }
        match (&self.spoken, &mut self.timer) {
            (Protocol::Unknown(_), Some(timer)) => timer
                .as_mut()
                .poll(context)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    }

    /// Once the server stops: the end of the stream, when nothing was under way for a while.
    fn end_if_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.spoken, Protocol::Http1) || self.timer.is_none() {
            self.spoken = Protocol::Http1;
            self.timer = Some(Box::pin(sleep(LINGER)));
        }
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if self.flights.is_empty() && !self.writing {
                return Poll::Ready(Ok(()));
            }
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
        self.note(&buffer.filled()[before..]);
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
        self.writing = polled.is_pending();
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.writing = polled.is_pending();
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

    fn opening(
        stop: &CancellationToken,
        flights: &InFlightCounter,
    ) -> (DuplexStream, FirstByteTimeout<DuplexStream>) {
        let (client, server) = duplex(64);
        (
            client,
            FirstByteTimeout::new(server, DEADLINE, stop, flights.clone()),
        )
    }

    async fn read_after(first: &[u8], wait: Duration, then: &[u8]) -> io::Result<Vec<u8>> {
        let (mut client, mut opening) =
            opening(&CancellationToken::new(), &InFlightCounter::default());
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            opening.read_to_end(&mut all).await.map(|_| all)
        });
        client.write_all(first).await?;
        sleep(wait).await;
        // The other side may be gone by now, which is what is tested.
        let _ = client.write_all(then).await;
        drop(client);
        reading.await.expect("no panic")
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_part_of_the_preface_end() {
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let read = read_after(first, DEADLINE * 2, b"x").await;
            assert_eq!(read.expect_err("too late").kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_told_is_left_alone() {
        for first in [&b"G"[..], b"POST", PREFACE] {
            let read = read_after(first, DEADLINE * 2, b"x").await;
            assert_eq!(
                read.expect("not this deadline's business"),
                [first, b"x"].concat()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_what_has_no_request_and_nothing_else() {
        let (stop, flights) = (CancellationToken::new(), InFlightCounter::default());
        let (mut client, mut opening) = opening(&stop, &flights);
        client.write_all(b"GET").await.expect("room");
        let flight = flights.start();
        let mut first = [0; 3];
        opening.read_exact(&mut first).await.expect("half a head");
        stop.cancel();
        let mut byte = [0];
        let waited = tokio::time::timeout(DEADLINE, opening.read(&mut byte)).await;
        assert!(waited.is_err(), "a request is under way");
        drop(flight);
        let ended = tokio::time::timeout(DEADLINE, opening.read(&mut byte)).await;
        assert_eq!(ended.expect("an end").expect("no error"), 0);
    }
}
