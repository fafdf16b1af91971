//! A connection on which hyper's own refusals say why.
//!
//! A head that hyper cannot read it answers by itself, with a status and no body, and closes. No service is
//! asked, so that the answer is met here, where it is written: whatever is written while nothing is under way,
//! and nothing has been since all was flushed, is hyper's own.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::flight::Flights;
use super::front::Front;

/// How long what a refused client still sends is read, so that the end of the connection does not overtake the
/// refusal.
const LINGER: Duration = Duration::from_secs(1);

/// How much of it is read, in bytes.
const LINGER_BYTES: usize = 1 << 20;

/// A stream that writes problem documents in place of hyper's own refusals.
pub(super) struct Explained<S> {
    stream: S,
    front: Front,
    flights: Flights,
    /// How many requests there had been when all was flushed.
    flushed: usize,
    document: Option<Document>,
    linger: Option<Linger>,
}

/// A document that is being written in place of so many bytes.
struct Document {
    bytes: Vec<u8>,
    written: usize,
    instead_of: usize,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Explained<S> {
    pub(super) fn new(stream: S, front: Front, flights: Flights) -> Self {
        Self { stream, front, flights, flushed: 0, document: None, linger: None }
    }

    /// Notes what hyper says by itself.
    fn note(&mut self, bytes: &[u8]) {
        if bytes.starts_with(b"HTTP/1.") && self.flights.idle_after() == Some(self.flushed) {
            let document = self.front.explain(bytes);
            self.document =
                document.map(|document| Document { bytes: document, written: 0, instead_of: bytes.len() });
        }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Writes the document, if there is one; hyper is told that all of its own is written.
    fn poll_document(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let Some(document) = &mut self.document else { return Poll::Ready(Ok(None)) };
        while let Some(rest) = document.bytes.get(document.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => document.written += count,
            }
        }
        let instead_of = document.instead_of;
        self.document = None;
        self.linger = Some(Linger { timer: Box::pin(sleep(LINGER)), left: LINGER_BYTES });
        Poll::Ready(Ok(Some(instead_of)))
    }
}

impl<S: AsyncRead + Unpin> Explained<S> {
    /// Reads what comes after a refusal, for a while.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = &mut self.linger else { return Poll::Ready(()) };
        let mut part = [0; 8 << 10];
        while linger.left > 0 && linger.timer.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut part);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len());
                }
                _ => break,
            }
        }
        self.linger = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.document.is_none() {
            self.note(bytes);
        }
        match ready!(self.poll_document(context))? {
            Some(written) => Poll::Ready(Ok(written)),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.document.is_none()
            && let [only] = slices
        {
            self.note(only);
        }
        match ready!(self.poll_document(context))? {
            Some(written) => Poll::Ready(Ok(written)),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.flights.idle_after();
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if let Some(flushed) = flushed {
            self.flushed = flushed;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        self.poll_linger(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::client::TrustedProxies;

    const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

    fn explained(flights: &Flights) -> (DuplexStream, Explained<DuplexStream>) {
        let (client, server) = duplex(64);
        let front = Front::new(String::from("urn:x:"), TrustedProxies::default(), Router::new());
        (client, Explained::new(server, front, flights.clone()))
    }

    /// What the client reads of what is written, on a pipe of 64 bytes.
    async fn read(mut client: DuplexStream, mut server: Explained<DuplexStream>, write: &[u8]) -> String {
        let write = write.to_vec();
        let writing = tokio::spawn(async move {
            server.write_all(&write).await?;
            server.shutdown().await
        });
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("text");
        writing.await.expect("no panic").expect("written");
        text
    }

    #[tokio::test(start_paused = true)]
    async fn f01_what_is_said_while_nothing_is_under_way_gets_a_body() {
        let (client, server) = explained(&Flights::default());
        let text = read(client, server, REFUSAL).await;
        assert!(text.contains("urn:x:BAD_REQUEST") && text.ends_with('}'), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_service_says_is_left_alone() {
        let flights = Flights::default();
        let (client, server) = explained(&flights);
        let flight = flights.start();
        let text = read(client, server, REFUSAL).await;
        assert_eq!(text.as_bytes(), REFUSAL, "under way");
        drop(flight);
        let (client, server) = explained(&flights);
        let text = read(client, server, REFUSAL).await;
        assert_eq!(text.as_bytes(), REFUSAL, "not flushed since");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_flush_the_next_refusal_is_hypers_again() {
        let flights = Flights::default();
        let (mut client, mut server) = explained(&flights);
        let flight = flights.start();
        server.write_all(b"ours").await.expect("room");
        drop(flight);
        server.flush().await.expect("room");
        let mut ours = [0; 4];
        client.read_exact(&mut ours).await.expect("ours");
        let text = read(client, server, REFUSAL).await;
        assert!(text.contains("urn:x:BAD_REQUEST"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_refused_client_still_sends_is_read_for_a_while() {
        let (mut client, mut server) = explained(&Flights::default());
        let closing = tokio::spawn(async move {
            server.write_all(REFUSAL).await?;
            server.shutdown().await
        });
        let mut text = Vec::new();
        client.read_to_end(&mut text).await.expect("text");
        client.write_all(&[b'x'; 1000]).await.expect("somebody reads");
        closing.await.expect("no panic").expect("an end, though the client stays");
        client.write_all(b"x").await.expect_err("nobody reads any more");
    }
}
