//! A connection whose client says nothing.
//!
//! hyper sets its deadline for a request's head once it knows which HTTP is spoken, which it learns
//! from the first bytes; until then this one holds.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails where its first bytes do not tell in time what is spoken.
pub(super) struct Opening<S> {
    stream: S,
    seen: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Opening<S> {
    pub(super) fn new(stream: S, deadline: Duration) -> Self {
        Self { stream, seen: 0, timer: Some(Box::pin(sleep(deadline))) }
    }

    /// Whether the bytes so far tell: the whole preface, or anything else.
    fn note(&mut self, bytes: &[u8]) {
        let expected = &PREFACE[self.seen..];
        let common = bytes.len().min(expected.len());
        self.seen += common;
        if self.seen == PREFACE.len() || bytes[..common] != expected[..common] {
            self.timer = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(timer) = &mut self.timer else { return polled };
        if polled.is_pending() {
            return timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.note(&buffer.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    async fn read_after(first: &[u8], wait: Duration, then: &[u8]) -> io::Result<Vec<u8>> {
        let (mut client, server) = duplex(64);
        let mut opening = Opening::new(server, DEADLINE);
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
            assert_eq!(read.expect("not this deadline's business"), [first, b"x"].concat());
        }
    }
}
