//! The state of one connection, shared by its task, its socket and its requests.

use core::pin::pin;
use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The number of bytes of responses that one HTTP/2 connection may hold in memory before its next
/// request has to wait. Without this bound, a client that opens many streams and reads none of the
/// responses could fill the memory.
const MAX_UNSENT: usize = 512 << 10;

/// The assumed sizes of a response that is not made yet: at first the largest, then the size of
/// earlier responses within these limits.
const MIN_EXPECTED: usize = MAX_UNSENT / 32;
const MAX_EXPECTED: usize = MAX_UNSENT / 2;

/// The time after which a request runs although the responses of other running requests might be
/// large. Those requests may take long, such as a long poll.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(1);

/// The longest time for which a request waits for a client that does not read.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The state of one connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    opened: Instant,
    /// The number of requests in flight. A request is in flight from its head until hyper has taken
    /// its whole response.
    in_flight: AtomicUsize,
    /// HTTP/2: the bytes of responses in memory that the client has not received.
    unsent: AtomicUsize,
    /// The time of the last progress, in milliseconds since `opened`: a request has ended, or a
    /// part of a response was sent.
    progress_at: AtomicU64,
    /// `true` while a write waits for the client.
    is_writing: AtomicBool,
    /// The HTTP/1 request.
    request: Http1Request,
    /// HTTP/2: the running requests.
    running: Mutex<Running>,
    /// Notified when a part of a response was sent, and when a response is made.
    changed: Notify,
    /// Cancelled if another connection needs the permit of this idle connection.
    pub(super) evicted: CancellationToken,
}

/// The progress of an HTTP/1 request.
#[derive(Debug, Default)]
struct Http1Request {
    /// The request has arrived completely, or its body is not read any more.
    is_whole: AtomicBool,
    /// The handler waits for the next part of the body.
    is_awaited: AtomicBool,
    /// Data has arrived that belongs to no whole request.
    is_partly_read: AtomicBool,
    /// HTTP/1.1: the response has not begun.
    accepts_interim: AtomicBool,
}

/// The requests of an HTTP/2 connection whose responses are not made yet.
#[derive(Debug)]
struct Running {
    count: usize,
    /// The expected size of a response.
    expected: usize,
    /// The number of parts of responses that were sent.
    sent_parts: u64,
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
            request: Http1Request::default(),
            running: Mutex::new(Running {
                count: 0,
                expected: MAX_EXPECTED,
                sent_parts: 0,
            }),
            changed: Notify::new(),
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
    fn progress(&self) {
        // A `u64` holds 500 million years of milliseconds.
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress_at.store(elapsed, ORDER);
    }

    /// Notes a write that waits for the client, or that was completed.
    ///
    /// A write that did not wait does not count as progress. On HTTP/2 it can be the acknowledgement
    /// of a PING.
    pub(super) fn wrote(&self, is_waiting: bool) {
        if is_waiting != self.is_writing.load(ORDER) {
            self.is_writing.store(is_waiting, ORDER);
            self.progress();
        }
    }

    /// Notes that data was read from the socket.
    pub(super) fn read_data(&self) {
        if !self.request.is_partly_read.load(ORDER) {
            self.request.is_partly_read.store(true, ORDER);
        }
    }

    /// Notes a new request of an HTTP/1 connection.
    pub(super) fn begin_http1(&self, is_whole: bool, accepts_interim: bool) {
        self.request.is_whole.store(is_whole, ORDER);
        self.request.is_partly_read.store(!is_whole, ORDER);
        self.request.is_awaited.store(false, ORDER);
        self.request.accepts_interim.store(accepts_interim, ORDER);
    }

    /// Notes that the handler waits for the body of the HTTP/1 request, or has got a part of it.
    pub(super) fn set_awaited(&self, is_awaited: bool) {
        self.request.is_awaited.store(is_awaited, ORDER);
    }

    /// Notes that the body of the HTTP/1 request has arrived completely.
    pub(super) fn end_body(&self) {
        self.request.is_partly_read.store(false, ORDER);
        self.drop_body();
    }

    /// Notes that the body of the HTTP/1 request is not read any more.
    pub(super) fn drop_body(&self) {
        self.request.is_awaited.store(false, ORDER);
        self.request.is_whole.store(true, ORDER);
    }

    /// Returns `true` if nothing more of the HTTP/1 request is needed.
    pub(super) fn has_whole_request(&self) -> bool {
        self.request.is_whole.load(ORDER)
    }

    /// Returns `true` if the handler of the HTTP/1 request waits for the next part of the body.
    pub(super) fn is_body_awaited(&self) -> bool {
        self.request.is_awaited.load(ORDER)
    }

    /// Returns `true` if the client may still be sending a request that is not read.
    pub(super) fn is_partly_read(&self) -> bool {
        self.request.is_partly_read.load(ORDER)
    }

    /// Returns `true` if an interim response can be sent now.
    pub(super) fn accepts_interim(&self) -> bool {
        self.request.accepts_interim.load(ORDER) && !self.is_writing.load(ORDER)
    }

    /// Notes that the response of the HTTP/1 request begins.
    pub(super) fn begin_response(&self) {
        self.request.accepts_interim.store(false, ORDER);
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the connection has room for the response of another HTTP/2 request.
    ///
    /// # Errors
    ///
    /// Fails if the client does not read the responses that it has.
    pub(super) async fn wait_for_room(self: &Arc<Self>) -> Result<RunningRequest, NoRoom> {
        let sent_parts = self.running().sent_parts;
        let begun = Instant::now();
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let waited = begun.elapsed();
            if self.try_run(sent_parts, waited) {
                return Ok(RunningRequest(Arc::clone(self)));
            }
            if waited >= MAX_WAIT {
                return Err(NoRoom);
            }
            let next = if waited < WAIT_FOR_OTHERS {
                WAIT_FOR_OTHERS
            } else {
                MAX_WAIT
            };
            // After a timeout, the loop decides again.
            let _ = timeout_at(begun + next, changed).await;
        }
    }

    /// Counts a running request if there is room for its response. `sent_parts` is the number from
    /// the time at which the request began to wait.
    fn try_run(&self, sent_parts: u64, waited: Duration) -> bool {
        let unsent = self.unsent.load(ORDER);
        let mut running = self.running();
        // A client that reads a large response slowly still gets one response after the other.
        let alone = running.count == 0 && running.sent_parts != sent_parts;
        let expected = unsent + (running.count + 1) * running.expected;
        let has_room = expected <= MAX_UNSENT;
        let is_late = waited >= WAIT_FOR_OTHERS && unsent < MAX_UNSENT;
        let may_run = has_room || alone || is_late || running.count == 0 && unsent < MAX_UNSENT;
        running.count += usize::from(may_run);
        may_run
    }

    /// Counts bytes of a response that the client has not received.
    pub(super) fn add_unsent(&self, bytes: usize) {
        if self.unsent.fetch_add(bytes, ORDER) == 0 {
            // The time for sending begins now, and not with the last request.
            self.progress();
        }
    }

    /// Removes bytes of a response that were sent, or are not sent any more.
    pub(super) fn remove_unsent(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, ORDER);
        self.running().sent_parts += 1;
        self.progress();
        self.changed.notify_waiters();
    }
}

/// The client does not read its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// A running HTTP/2 request, until its response is made.
#[derive(Debug)]
pub(super) struct RunningRequest(Arc<ConnectionState>);

impl RunningRequest {
    /// Ends the request with a response of this size.
    pub(super) fn end(self, size: usize) {
        let mut running = self.0.running();
        let expected = size.max(running.expected / 2);
        running.expected = expected.clamp(MIN_EXPECTED, MAX_EXPECTED);
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.running().count -= 1;
        self.0.changed.notify_waiters();
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

/// A piece of a response, counted as unsent until the socket has taken it.
#[derive(Debug)]
struct UnsentPiece {
    bytes: Bytes,
    state: Arc<ConnectionState>,
}

/// Returns the same bytes. They count as unsent until they are dropped.
pub(super) fn unsent_piece(bytes: Bytes, state: &Arc<ConnectionState>) -> Bytes {
    Bytes::from_owner(UnsentPiece {
        bytes,
        state: Arc::clone(state),
    })
}

impl AsRef<[u8]> for UnsentPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for UnsentPiece {
    fn drop(&mut self) {
        self.state.remove_unsent(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn run(state: &Arc<ConnectionState>) -> Option<RunningRequest> {
        let room = state.wait_for_room().now_or_never()?;
        Some(room.expect("no request has waited for long"))
    }

    #[tokio::test]
    async fn two_requests_run_until_the_size_of_a_response_is_known() {
        let state = Arc::new(ConnectionState::new());
        let (first, second) = (run(&state), run(&state));
        assert!(first.is_some() && second.is_some() && run(&state).is_none());
        drop((first, second));
        // The expected size falls by half with each small response.
        (0..6).for_each(|_| run(&state).expect("room").end(100));
        let running: Vec<_> = (0..24).filter_map(|_| run(&state)).collect();
        assert_eq!(running.len(), 24);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_at_most_a_second_for_requests_that_take_long() {
        let state = Arc::new(ConnectionState::new());
        let _long = (run(&state), run(&state));
        let begun = Instant::now();
        state.wait_for_room().await.expect("room");
        assert_eq!(begun.elapsed(), WAIT_FOR_OTHERS);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_refused_while_the_client_does_not_read() {
        let state = Arc::new(ConnectionState::new());
        state.add_unsent(MAX_UNSENT);
        let begun = Instant::now();
        assert_eq!(state.wait_for_room().await.expect_err("no room"), NoRoom);
        assert_eq!(begun.elapsed(), MAX_WAIT);
    }

    #[tokio::test]
    async fn requests_run_one_after_the_other_while_the_client_reads_slowly() {
        let state = Arc::new(ConnectionState::new());
        state.add_unsent(10 * MAX_UNSENT);
        let (mut first, mut second) = (pin!(state.wait_for_room()), pin!(state.wait_for_room()));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(unsent_piece(Bytes::from_static(b"piece"), &state));
        let running = first.now_or_never().expect("progress").expect("progress");
        assert!(second.as_mut().now_or_never().is_none(), "one at a time");
        drop(running);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_stalls_if_nothing_is_sent() {
        let state = Arc::new(ConnectionState::new());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(state.stalled_for(), None);
        assert_eq!(state.idle_for(), Some(Duration::from_mins(1)));
        state.add_unsent(8);
        let unsent = unsent_piece(Bytes::from_static(b"response"), &state);
        tokio::time::advance(Duration::from_secs(2)).await;
        state.wrote(false);
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
