use core::future::pending;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::commands::{CommandParser, Counts};
use super::rewrite::Rewriter;
use super::{Switches, lock};

/// A relay between one client and the server.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) target: SocketAddr,
    pub(super) switches: watch::Receiver<Switches>,
    pub(super) counts: Arc<Mutex<Counts>>,
}

/// A part of a reply, and the time at which the client receives it.
type DelayedReply = (Instant, Bytes);

impl Relay {
    /// Relays a connection until either side closes it.
    pub(super) async fn run(self, client: TcpStream) {
        // An error closes the connection. The client observes only that.
        let _ = self.relay(client).await;
    }

    async fn relay(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let (queue, delayed) = unbounded_channel();
        let (requests, replies) = (Gap::default(), Gap::default());
        let relayed = async {
            tokio::join!(
                self.requests(from_client, to_server, &requests),
                self.replies(from_server, queue, &replies)
            );
            pending::<()>().await;
        };
        // `gap_is_exposed` is polled first. When the fault is switched off, no byte after a gap may
        // reach either side. `relayed` never completes, so `deliver` can still send delayed replies
        // after both directions have ended.
        tokio::select! {
            biased;
            () = self.gap_is_exposed(&requests, &replies) => {}
            () = relayed => {}
            () = self.deliver(delayed, to_client, &replies) => {}
        }
        Ok(())
    }

    /// Relays requests until the client closes its sending side, and then closes the sending side
    /// to the server.
    async fn requests(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, gap: &Gap) {
        let mut parser = CommandParser::default();
        while let Some(chunk) = read(&mut from).await {
            // The switch is read before the command is counted. If a test sees the count and then
            // switches the fault, the new setting does not apply to the counted command.
            let passes = gap.passes(self.switches.borrow().swallow_requests);
            parser.feed(&chunk, |name| lock(&self.counts).count(name));
            if passes && to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // This fails if the server has closed the connection. In this case its replies also end.
        let _ = to.shutdown().await;
    }

    /// Queues replies until the server sends no more.
    async fn replies(
        &self,
        mut from: ReadHalf<'_>,
        queue: UnboundedSender<DelayedReply>,
        gap: &Gap,
    ) {
        let mut rewriter = Rewriter::default();
        while let Some(chunk) = read(&mut from).await {
            let switches = self.switches.borrow().clone();
            let rewritten = rewriter.feed(&chunk, switches.rewrite);
            if gap.passes(switches.swallow_replies) {
                // The receiver lives as long as this connection, so the send succeeds.
                let _ = queue.send((Instant::now() + switches.delay, rewritten.into()));
            }
        }
        let _ = queue.send((Instant::now(), rewriter.take_held_back().into()));
    }

    /// Sends each queued reply to the client at its time, until the queue ends or the client
    /// disconnects.
    async fn deliver(
        &self,
        mut delayed: UnboundedReceiver<DelayedReply>,
        mut to: WriteHalf<'_>,
        gap: &Gap,
    ) {
        while let Some((due_at, reply)) = delayed.recv().await {
            // Tokio's timer rounds up to a whole millisecond. Without this condition, it would also
            // delay replies whose time has come.
            if due_at > Instant::now() {
                sleep_until(due_at).await;
            }
            let passes = gap.passes(self.switches.borrow().swallow_replies);
            if passes && to.write_all(&reply).await.is_err() {
                return;
            }
        }
    }

    /// Waits until one direction has lost bytes and the fault that discards its bytes is switched
    /// off. The next bytes of this direction would then follow a gap, so the connection must end.
    async fn gap_is_exposed(&self, requests: &Gap, replies: &Gap) {
        let is_exposed = |switches: &Switches| {
            (requests.exists() && !switches.swallow_requests)
                || (replies.exists() && !switches.swallow_replies)
        };
        // An error means that the proxy was dropped, which also closes the connection.
        let _ = self.switches.clone().wait_for(is_exposed).await;
    }
}

/// A flag that is set when one direction of a connection loses bytes. From then on, no byte passes
/// in this direction.
#[derive(Debug, Default)]
struct Gap(AtomicBool);

impl Gap {
    /// Returns whether the next bytes pass.
    fn passes(&self, swallow: bool) -> bool {
        if swallow {
            self.0.store(true, Ordering::SeqCst);
        }
        !self.exists()
    }

    fn exists(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Returns the next bytes; `None` at the end of the connection.
async fn read(from: &mut ReadHalf<'_>) -> Option<Bytes> {
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
    match from.read_buf(&mut buffer).await {
        Ok(1..) => Some(buffer.freeze()),
        _ => None,
    }
}

/// The size of a chunk. It is larger than nearly every command and reply of a test, so most
/// commands and replies are one chunk.
const CHUNK_BYTES: usize = 16 * 1024;
