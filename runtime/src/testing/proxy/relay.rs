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

use super::commands::{Commands, Counts};
use super::rewrite::Rewriter;
use super::{Switches, lock};

/// What carries one connection.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) target: SocketAddr,
    pub(super) switches: watch::Receiver<Switches>,
    pub(super) counts: Arc<Mutex<Counts>>,
}

/// A reply, or a part of one, and when the client may have it.
type Due = (Instant, Bytes);

impl Relay {
    /// Carries the connection until either side ends it.
    pub(super) async fn run(self, client: TcpStream) {
        // The client sees that its connection is closed.
        let _ = self.carry(client).await;
    }

    async fn carry(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let (queue, queued) = unbounded_channel();
        let (requests, replies) = (Gap::default(), Gap::default());
        let carried = async {
            tokio::join!(
                self.requests(from_client, to_server, &requests),
                self.replies(from_server, queue, &replies)
            );
            pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.gap_would_show(&requests, &replies) => {}
            () = carried => {}
            () = self.deliver(queued, to_client, &replies) => {}
        }
        Ok(())
    }

    /// Carries requests until the client sends no more, and tells the server so.
    async fn requests(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, gap: &Gap) {
        let mut commands = Commands::default();
        while let Some(chunk) = read(&mut from).await {
            // In this order, so that a test which has seen the count knows what became of the command.
            let passes = gap.passes(self.switches.borrow().swallow_requests);
            commands.feed(&chunk, |name| lock(&self.counts).add(name));
            if passes && to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The server may be gone; then its replies end.
        let _ = to.shutdown().await;
    }

    /// Queues replies until the server sends no more.
    async fn replies(&self, mut from: ReadHalf<'_>, queue: UnboundedSender<Due>, gap: &Gap) {
        let mut rewriter = Rewriter::default();
        while let Some(chunk) = read(&mut from).await {
            let switches = self.switches.borrow().clone();
            let rewritten = rewriter.feed(&chunk, switches.rewrite);
            if gap.passes(switches.swallow_replies) {
                // It is received as long as the connection lives.
                let _ = queue.send((Instant::now() + switches.delay, rewritten.into()));
            }
        }
        let _ = queue.send((Instant::now(), rewriter.rest().into()));
    }

    /// Gives the client what is queued, when it is due, until the queue ends or the client is gone.
    async fn deliver(&self, mut queued: UnboundedReceiver<Due>, mut to: WriteHalf<'_>, gap: &Gap) {
        while let Some((due, reply)) = queued.recv().await {
            // The timer is no finer than a millisecond, so it is left out where it can be.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let passes = gap.passes(self.switches.borrow().swallow_replies);
            if passes && to.write_all(&reply).await.is_err() {
                return;
            }
        }
    }

    /// Returns once something was lost and what follows would no longer be.
    async fn gap_would_show(&self, requests: &Gap, replies: &Gap) {
        let shows = |switches: &Switches| {
            (requests.is_there() && !switches.swallow_requests)
                || (replies.is_there() && !switches.swallow_replies)
        };
        // An error says that the proxy was dropped, which is an end as well.
        let _ = self.switches.clone().wait_for(shows).await;
    }
}

/// Whether one direction of a connection has lost something, after which nothing passes.
#[derive(Debug, Default)]
struct Gap(AtomicBool);

impl Gap {
    /// Whether the next bytes pass.
    fn passes(&self, swallow: bool) -> bool {
        if swallow {
            self.0.store(true, Ordering::SeqCst);
        }
        !self.is_there()
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The next bytes; `None` where none will come.
async fn read(from: &mut ReadHalf<'_>) -> Option<Bytes> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    match from.read_buf(&mut buffer).await {
        Ok(1..) => Some(buffer.freeze()),
        _ => None,
    }
}

const CHUNK: usize = 16 * 1024;
