//! The traits of a policy: its stage, and the writer that a stage adds for the response.

use core::any::Any;
use core::fmt;
use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use super::incoming::IncomingRequest;
use super::state::{RequestInfo, RequestState};
use crate::problem::Problem;

/// One policy on one mounted endpoint. Its constructor runs at start, and returns `None` if the
/// endpoint does not declare the policy.
pub(crate) trait Stage: fmt::Debug + Send + Sync {
    /// Decides about one request: it passes, is refused, or has to wait.
    ///
    /// A stage that writes response fields pushes a [`ResponseWriter`] to
    /// [`RequestState::writers`].
    ///
    /// A stage that waits must do everything inside its future, including changes of `state`. The
    /// pipeline first enters a stage without waiting: it drops an unpolled future, and enters the
    /// stage again later. A polled future is dropped if the client hangs up or the deadline passes.
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a>;
}

/// The decision of a stage: the request passes, or is refused with a problem.
pub(crate) enum StageResult<'a> {
    /// The decision.
    Ready(Result<(), Problem>),
    /// The decision of a stage that has to wait.
    Waiting(BoxFuture<'a, Result<(), Problem>>),
}

impl StageResult<'_> {
    /// The request passes to the next stage.
    pub(crate) const PASS: Self = Self::Ready(Ok(()));
}

/// A writer of response fields, with the data of one stage about one request.
pub(crate) trait ResponseWriter: Any + fmt::Debug + Send + Sync {
    /// Writes the policy's fields into the response. The response comes from the handler, a later
    /// stage or an extractor.
    fn write(&self, info: &RequestInfo, response: &mut Response);
}

/// The writers of one request, in the order of their stages.
///
/// The writers are shared, because a run that continues after its client has disconnected still
/// updates them.
#[derive(Debug, Default)]
pub(crate) struct ResponseWriters(SmallVec<[Arc<dyn ResponseWriter>; 2]>);

impl ResponseWriters {
    /// Adds the writer of the stage that the request has just entered.
    pub(crate) fn push(&mut self, writer: Arc<dyn ResponseWriter>) {
        self.0.push(writer);
    }

    /// Returns the writer of this type.
    pub(crate) fn get<W: ResponseWriter>(&self) -> Option<&W> {
        self.0
            .iter()
            .find_map(|writer| (&**writer as &dyn Any).downcast_ref())
    }

    /// Returns the writer of this type, shared with a run that continues after its client has
    /// disconnected.
    pub(crate) fn share<W: ResponseWriter>(&self) -> Option<Arc<W>> {
        self.0.iter().find_map(|writer| {
            let writer: Arc<dyn Any + Send + Sync> = Arc::<dyn ResponseWriter>::clone(writer);
            writer.downcast().ok()
        })
    }

    /// Writes the fields of all policies. The first stage writes last, so that its fields replace
    /// the fields of later stages.
    pub(crate) fn write_all(&self, info: &RequestInfo, response: &mut Response) {
        for writer in self.0.iter().rev() {
            writer.write(info, response);
        }
    }
}
