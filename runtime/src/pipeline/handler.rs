//! Extractors and handler.

use core::any::Any;
use core::future::poll_fn;
use core::panic::AssertUnwindSafe;
use core::task::Poll;
use std::panic::catch_unwind;

use crate::endpoint::{Answer, AnswerFuture};
use crate::problem::Problem;

/// Runs a request to its answer. A panic is a 500 whose message goes to the log.
pub(crate) async fn run(mut running: AnswerFuture) -> Answer {
    let survived = poll_fn(|context| match survive(|| running.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    survived.await.unwrap_or_else(Answer::failed)
}

/// Does one step of a handler.
pub(crate) fn survive<T>(step: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| Problem::internal(message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message"))
}
