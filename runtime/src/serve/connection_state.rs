//! The state of one connection, shared by its task, its socket and its requests.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The number of bytes of response bodies that one connection may hold in memory before its next
/// request has to wait. Without this bound, a client that opens many streams and reads none of the
/// responses could fill the memory.
const MAX_UNSENT: usize = 512 << 10;

/// The state of one connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    opened: Instant,
    /// The number of requests in flight. A request is in flight from its head until hyper has taken
    /// its whole response.
    in_flight: AtomicUsize,
    /// The bytes of large response bodies in memory that the client has not received.
    unsent: AtomicUsize,
    /// The time of the last progress, in milliseconds since `opened`: a request has ended, or a
    /// part of a response was sent.
    progress_at: AtomicU64,
    /// `true` while a write waits for the client.
    is_writing: AtomicBool,
    /// HTTP/1: `true` if the running request has arrived completely.
    is_whole: AtomicBool,
    /// HTTP/1.1: `true` until the response of the running request begins.
    accepts_interim: AtomicBool,
    /// Notified when `unsent` falls below [`MAX_UNSENT`].
    has_room: Notify,
    /// The permit of the one request that may run while much is unsent.
    turn: Semaphore,
    /// Cancelled if another connection needs the permit of this idle connection.
    pub(super) evicted: CancellationToken,
}

// The values are independent of each other and of all other memory, so any memory ordering is
// correct.
const ORDER: Ordering = Ordering::SeqCst;

impl ConnectionState {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            progress_at: AtomicU64::new(0),
            is_writing: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
            accepts_interim: AtomicBool::new(false),
            has_room: Notify::new(),
            turn: Semaphore::new(1),
            evicted: CancellationToken::new(),
        }
    }

    /// Returns `true` if no request is in flight and no response is being sent.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(ORDER) == 0 && !self.is_sending()
    }

    /// Returns how long the connection has been idle; `None` if it is in use.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.is_idle().then(|| self.since_progress())
    }

    /// Returns for how long the client has not read a response that is ready; `None` if no response
    /// waits for the client.
    pub(super) fn stalled_for(&self) -> Option<Duration> {
        self.is_sending().then(|| self.since_progress())
    }

    fn is_sending(&self) -> bool {
        self.is_writing.load(ORDER) || self.unsent.load(ORDER) > 0
    }

    fn since_progress(&self) -> Duration {
        let progress_at = Duration::from_millis(self.progress_at.load(ORDER));
        self.opened.elapsed().saturating_sub(progress_at)
    }

    /// Sets the time of the last progress to the current time.
    pub(super) fn progress(&self) {
        // A `u64` holds 500 million years of milliseconds.
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress_at.store(elapsed, ORDER);
    }

    /// Notes a write that waits for the client, or that was completed.
    pub(super) fn wrote(&self, is_waiting: bool) {
        let was_waiting = self.is_writing.load(ORDER);
        if is_waiting != was_waiting {
            self.is_writing.store(is_waiting, ORDER);
        }
        if is_waiting != was_waiting || !is_waiting && self.unsent.load(ORDER) > 0 {
            self.progress();
        }
    }

    /// Notes a new request of an HTTP/1 connection.
    pub(super) fn begin_http1(&self, is_whole: bool, accepts_interim: bool) {
        self.is_whole.store(is_whole, ORDER);
        self.accepts_interim.store(accepts_interim, ORDER);
    }

    /// Notes that the body of the running HTTP/1 request has arrived completely.
    pub(super) fn set_whole(&self) {
        self.is_whole.store(true, ORDER);
    }

    /// Returns `true` if the client has sent the newest HTTP/1 request completely.
    pub(super) fn has_whole_request(&self) -> bool {
        self.is_whole.load(ORDER)
    }

    /// Returns `true` if an interim response can be sent now.
    pub(super) fn accepts_interim(&self) -> bool {
        self.accepts_interim.load(ORDER) && !self.is_writing.load(ORDER)
    }

    /// Notes that a response begins.
    pub(super) fn begin_response(&self) {
        if self.accepts_interim.load(ORDER) {
            self.accepts_interim.store(false, ORDER);
        }
    }

    /// Waits until the connection has room for another response. Returns `None` for a connection
    /// without unsent responses, so that its requests run side by side. Otherwise requests run one
    /// after the other: each keeps the permit until its response is made.
    pub(super) async fn wait_for_room(&self) -> Option<SemaphorePermit<'_>> {
        if self.unsent.load(ORDER) == 0 {
            return None;
        }
        let turn = self.turn.acquire().await.ok();
        // Only the request with the permit waits here, so `notify_one` wakes the right one.
        while self.unsent.load(ORDER) >= MAX_UNSENT {
            self.has_room.notified().await;
        }
        turn
    }
}

/// One request in flight, counted until it is dropped.
#[derive(Debug)]
pub(super) struct InFlightRequest(pub(super) Arc<ConnectionState>);

impl InFlightRequest {
    /// Counts a request until the returned value is dropped.
    pub(super) fn start(state: &Arc<ConnectionState>) -> Self {
        state.in_flight.fetch_add(1, ORDER);
        Self(Arc::clone(state))
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, ORDER) == 1 {
            self.0.progress();
        }
    }
}

/// A part of a response body in memory, counted until the socket has taken all of it.
#[derive(Debug)]
struct UnsentBytes {
    bytes: Bytes,
    state: Arc<ConnectionState>,
}

/// Counts a part of a response body as unsent until it is dropped, together with all slices of it.
pub(super) fn count_unsent(bytes: Bytes, state: &Arc<ConnectionState>) -> Bytes {
    if state.unsent.fetch_add(bytes.len(), ORDER) == 0 {
        // The time for sending begins now, and not with the last request.
        state.progress();
    }
    Bytes::from_owner(UnsentBytes {
        bytes,
        state: Arc::clone(state),
    })
}

impl AsRef<[u8]> for UnsentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for UnsentBytes {
    fn drop(&mut self) {
        let (state, length) = (&self.state, self.bytes.len());
        let before = state.unsent.fetch_sub(length, ORDER);
        state.progress();
        if before >= MAX_UNSENT && before - length < MAX_UNSENT {
            state.has_room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn requests_wait_while_the_client_does_not_read() {
        let state = Arc::new(ConnectionState::new());
        assert!(
            state
                .wait_for_room()
                .now_or_never()
                .expect("room")
                .is_none()
        );
        let first = count_unsent(Bytes::from(vec![0; MAX_UNSENT - 1]), &state);
        let turn = state.wait_for_room().now_or_never().expect("room");
        assert!(
            state.wait_for_room().now_or_never().is_none(),
            "one request at a time"
        );
        let second = count_unsent(Bytes::from_static(b"x"), &state);
        drop(turn);
        let mut third = core::pin::pin!(state.wait_for_room());
        assert!(third.as_mut().now_or_never().is_none(), "no room");
        let slice = first.slice(1..2);
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "a slice is alive");
        drop(slice);
        assert!(third.now_or_never().is_some());
        drop(second);
        assert_eq!(state.unsent.load(ORDER), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_stalls_if_nothing_is_sent() {
        let state = Arc::new(ConnectionState::new());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(state.stalled_for(), None);
        assert_eq!(state.idle_for(), Some(Duration::from_mins(1)));
        let unsent = count_unsent(Bytes::from_static(b"response"), &state);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(state.stalled_for(), Some(Duration::from_secs(2)));
        assert_eq!(state.idle_for(), None);
        drop(unsent);
        assert_eq!(state.stalled_for(), None);
        state.wrote(true);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(state.stalled_for(), Some(Duration::from_secs(3)));
        state.wrote(true);
        assert_eq!(state.stalled_for(), Some(Duration::from_secs(3)));
        state.wrote(false);
        assert_eq!(state.idle_for(), Some(Duration::ZERO));
    }
}
