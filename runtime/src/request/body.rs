//! The body that extractors and handlers read: its limit, its timeout, and the reason of a failure.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::HttpBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{LengthLimitError, Limited};
use tokio::time::{Instant, Sleep, sleep};

use super::body_memory::{BodyShare, MemoryUsedUp};
use super::body_rules::{BodyArgument, BodyRules};
use super::incoming::UnreadBody;
use super::pace::Pacer;
use super::read::{Stalled, incomplete};
use crate::problem::{EndpointResponse, Problem, ResponseOrigin, registry};

/// The progress of reading a body. The pipeline needs it, because an extractor may not report why
/// it could not read the body. `None` for a request without a body.
#[derive(Debug, Clone)]
pub(crate) struct BodyReadState(Option<Arc<Progress>>);

#[derive(Debug)]
struct Progress {
    state: AtomicU8,
    leftovers: Mutex<Leftovers>,
}

/// The data that is kept until the request ends.
#[derive(Debug, Default)]
struct Leftovers {
    /// The rest of a body that an extractor or the handler did not read to its end.
    unread: Option<UnreadBody>,
    /// The share of a body that an extractor has read. The pipeline cannot see when the extracted
    /// value is dropped.
    share: Option<BodyShare>,
}

/// No read waits: reading has not begun, pauses between two reads, or has finished.
const READING: u8 = 0;
/// A read waits for the client.
const WAITING: u8 = 1;
/// A read failed, because the client was too slow.
const STALLED: u8 = 2;
/// A read failed, because the body is over its limit.
const TOO_LARGE: u8 = 3;
/// A read failed, because the body ended early or its framing is invalid.
const BROKEN: u8 = 4;
/// A read failed, because the memory for bodies is used up.
const OVERLOADED: u8 = 5;

impl BodyReadState {
    /// Returns the state of a body that has not been read. An empty body needs no allocation.
    pub(crate) fn new(has_body: bool) -> Self {
        Self(has_body.then(|| {
            Arc::new(Progress {
                state: AtomicU8::new(READING),
                leftovers: Mutex::default(),
            })
        }))
    }

    /// Sets the state to `WAITING` while a future reads the body. If the future is dropped, the
    /// state stays `WAITING`, so that [`timed_out`](Self::timed_out) sees that a deadline
    /// interrupted a read.
    pub(crate) async fn reading<T>(&self, read: impl Future<Output = T>) -> T {
        self.set(WAITING);
        let read = read.await;
        self.set(READING);
        read
    }

    /// Returns the 408 for a request whose deadline passed while it waited for the client's body.
    /// Returns `None` if it did not wait for the body.
    pub(crate) fn timed_out(&self) -> Option<EndpointResponse> {
        let waits_for_client = matches!(self.get(), WAITING | STALLED);
        waits_for_client
            .then(|| EndpointResponse::refused(Problem::new(&registry::REQUEST_TIMEOUT)))
    }

    /// Replaces the response of an extractor that could not read the body. axum's extractors return
    /// a text without the reason.
    #[inline]
    pub(crate) fn explain_failure(&self, outcome: &mut EndpointResponse) {
        if self.0.is_some() && outcome.origin == ResponseOrigin::Refused {
            self.replace_refusal(outcome);
        }
    }

    fn replace_refusal(&self, outcome: &mut EndpointResponse) {
        let problem = match self.get() {
            STALLED => Problem::new(&registry::REQUEST_TIMEOUT),
            TOO_LARGE => Problem::new(&registry::BODY_TOO_LARGE),
            BROKEN => incomplete(),
            OVERLOADED => Problem::overloaded(),
            _ => return,
        };
        *outcome = EndpointResponse::refused(problem);
    }

    // No other memory depends on the state, so any memory ordering is correct.
    fn get(&self) -> u8 {
        self.0
            .as_ref()
            .map_or(READING, |progress| progress.state.load(Ordering::SeqCst))
    }

    fn set(&self, value: u8) {
        if let Some(progress) = &self.0 {
            progress.state.store(value, Ordering::SeqCst);
        }
    }

    /// Takes the rest of a body that is not read any more, unless the client is too slow or gone.
    pub(crate) fn take_unread(&self) -> Option<UnreadBody> {
        let progress = self.0.as_ref()?;
        if matches!(self.get(), STALLED | BROKEN) {
            return None;
        }
        progress.leftovers().unread.take()
    }

    fn give_back(&self, body: UnreadBody) {
        if let Some(progress) = &self.0 {
            progress.leftovers().unread = Some(body);
        }
    }

    /// Keeps the share of a large body until the request ends, because an extractor or the handler
    /// may keep the data.
    pub(super) fn keep(&self, share: BodyShare) {
        if let Some(progress) = self.0.as_ref().filter(|_| !share.is_small()) {
            progress.leftovers().share = Some(share);
        }
    }
}

impl Progress {
    fn leftovers(&self) -> MutexGuard<'_, Leftovers> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that fails if it grows over its limit, if the client is too slow, or if the memory for
/// bodies is used up.
pub(crate) struct LimitedBody {
    body: Limited<ReturnedBody>,
    state: BodyReadState,
    pacer: Pacer,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// `None` for a handler that reads the body part by part. The handler bounds its memory itself.
    share: Option<BodyShare>,
}

impl LimitedBody {
    pub(crate) fn new(body: UnreadBody, rules: &BodyRules, state: BodyReadState) -> Self {
        let limit = usize::try_from(rules.limit).unwrap_or(usize::MAX);
        let body = ReturnedBody {
            body: Some(body),
            state: state.clone(),
        };
        Self {
            body: Limited::new(body, limit),
            state,
            pacer: Pacer::new(rules.pace),
            timer: None,
            share: (rules.argument == BodyArgument::Buffered)
                .then(|| BodyShare::new(&rules.memory)),
        }
    }
}

/// A part of a body below this size is copied, so that it does not keep the read buffer of hyper. The
/// read buffer has at least 8 KiB.
const SMALL_PART: usize = 4 << 10;

/// A body that is given back when it is dropped before its end. The pipeline then reads the rest,
/// because a connection with an unread body cannot be reused. If the service closed that
/// connection, it could be reset before the client has read the response.
struct ReturnedBody {
    body: Option<UnreadBody>,
    state: BodyReadState,
}

impl Drop for ReturnedBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end()) {
            self.state.give_back(body);
        }
    }
}

impl HttpBody for ReturnedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.body {
            Some(body) => body.poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(UnreadBody::is_end)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, UnreadBody::size_hint)
    }
}

impl Drop for LimitedBody {
    fn drop(&mut self) {
        // A handler that drops the body does not wait for the client any more, so a later deadline
        // is a 504 and not a 408. The state is read and set in two separate steps. This is safe,
        // because only this body writes the state.
        if self.state.get() == WAITING {
            self.state.set(READING);
        }
        if let Some(share) = self.share.take() {
            self.state.keep(share);
        }
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.state.get() == OVERLOADED {
            // The data after the refused part would not be the body of the request.
            return Poll::Ready(None);
        }
        let Poll::Ready(mut polled) = Pin::new(&mut self.body).poll_frame(context) else {
            return self.wait(context);
        };
        let waited = self.timer.take();
        let waited = waited.map_or(Duration::ZERO, |(begun, _)| begun.elapsed());
        self.pacer.waited(waited);
        if let Some(Ok(frame)) = &mut polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.pacer.add(bytes, Duration::ZERO);
            if let Err(used_up) = self.count(frame) {
                self.state.set(OVERLOADED);
                return Poll::Ready(Some(Err(used_up.into())));
            }
        }
        self.state.set(match &polled {
            Some(Err(error)) if error.is::<LengthLimitError>() => TOO_LARGE,
            Some(Err(_)) => BROKEN,
            _ => READING,
        });
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl LimitedBody {
    /// Counts a part of a body that is buffered.
    ///
    /// axum's extractors keep each part of a body. A small part would keep the whole read buffer of
    /// hyper, which is much larger, so it is copied. Most bodies have only one part, which is not
    /// copied.
    fn count(&mut self, frame: &mut Frame<Bytes>) -> Result<(), MemoryUsedUp> {
        let (Some(share), Some(data)) = (&mut self.share, frame.data_mut()) else {
            return Ok(());
        };
        if share.received() == 0 {
            return share.add(data.len());
        }
        if data.len() < SMALL_PART {
            *data = Bytes::copy_from_slice(data);
        }
        share.add_part(data.len())
    }

    fn wait(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        self.state.set(WAITING);
        let patience = self.pacer.patience();
        let (_, timer) = self
            .timer
            .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(patience))));
        timer.as_mut().poll(context).map(|()| {
            self.state.set(STALLED);
            Some(Err(Stalled.into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;

    use super::super::body_memory::{BodyMemory, SMALL};
    use super::super::pace::BodyPace;
    use super::super::read;
    use super::*;

    fn rules(limit: u64) -> BodyRules {
        BodyRules {
            limit,
            pace: BodyPace::DEFAULT,
            argument: BodyArgument::Buffered,
            memory: Arc::new(BodyMemory::new(SMALL as u64)),
        }
    }

    fn unread(body: Body) -> UnreadBody {
        UnreadBody::new(body, &http::HeaderMap::new(), false)
    }

    async fn problem_of(body: Body, limit: u64) -> &'static str {
        let body = Body::new(LimitedBody::new(
            unread(body),
            &rules(limit),
            BodyReadState::new(true),
        ));
        read::read(body)
            .await
            .expect_err("a body that cannot be read")
            .code()
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_reads_the_body_gets_the_reason_of_a_failure() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(problem_of(stalled, 10).await, "REQUEST_TIMEOUT");
        assert_eq!(
            problem_of(Body::from("longer than ten"), 10).await,
            "BODY_TOO_LARGE"
        );
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other(
            "gone",
        ))]));
        assert_eq!(problem_of(broken, 10).await, "BODY_INCOMPLETE");
        let large = Body::from(vec![0; 2 * SMALL + 1]);
        assert_eq!(problem_of(large, 1 << 20).await, "OVERLOADED");
        let small = Body::from(vec![0; SMALL]);
        let body = LimitedBody::new(unread(small), &rules(1 << 20), BodyReadState::new(true));
        assert!(read::read(Body::new(body)).await.is_ok());
    }
}
