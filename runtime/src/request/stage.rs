//! The shape of a stage: one policy on one mounted endpoint.

use core::any::Any;
use core::fmt;
use std::sync::Arc;

use axum::response::Response;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use super::incoming::IncomingRequest;
use super::state::{RequestInfo, RequestState};
use crate::problem::Problem;

/// One policy on one mounted endpoint, made at start by a constructor that returns `None` where the
/// endpoint does not declare the policy.
pub(crate) trait Stage: fmt::Debug + Send + Sync {
    /// Decides about one request: it passes, is refused, or has to wait.
    ///
    /// What the stage knows of the request it leaves in [`RequestState::exits`]. A stage that waits
    /// does all it does in its future: if that is dropped before it is polled, the stage is entered
    /// again. It is dropped for good if the client hangs up or the deadline passes.
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a>;
}

/// The decision of a stage: the request goes on, or is refused.
pub(crate) enum StageResult<'a> {
    /// Known at once.
    Ready(Result<(), Problem>),
    /// Known later.
    Waiting(BoxFuture<'a, Result<(), Problem>>),
}

impl StageResult<'_> {
    /// The request goes on to the next stage.
    pub(crate) const PASS: Self = Self::Ready(Ok(()));
}

/// What a stage knows of one request until its response leaves.
pub(crate) trait ResponseWriter: Any + fmt::Debug + Send + Sync {
    /// Writes what the policy says into the response, whoever made it.
    fn write(&self, info: &RequestInfo, response: &mut Response);
}

/// The exits of one request, in the order of their stages.
///
/// They are shared, because a run that goes on without its client still notes there what it learns.
#[derive(Debug, Default)]
pub(crate) struct ResponseWriters(SmallVec<[Arc<dyn ResponseWriter>; 2]>);

impl ResponseWriters {
    /// Adds the exit of the stage that the request has just entered.
    pub(crate) fn push(&mut self, exit: Arc<dyn ResponseWriter>) {
        self.0.push(exit);
    }

    /// The exit of this type.
    pub(crate) fn get<E: ResponseWriter>(&self) -> Option<&E> {
        self.0
            .iter()
            .find_map(|exit| (&**exit as &dyn Any).downcast_ref())
    }

    /// The exit of this type, for a run that goes on without its client.
    pub(crate) fn share<E: ResponseWriter>(&self) -> Option<Arc<E>> {
        self.0.iter().find_map(|exit| {
            let exit: Arc<dyn Any + Send + Sync> = Arc::<dyn ResponseWriter>::clone(exit);
            exit.downcast().ok()
        })
    }

    /// Lets each exit write into the response, the last one first.
    pub(crate) fn finish(&self, info: &RequestInfo, response: &mut Response) {
        for exit in self.0.iter().rev() {
            exit.write(info, response);
        }
    }
}
