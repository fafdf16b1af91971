//! Extractors and handler.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use futures_util::FutureExt;

use crate::endpoint::Answer;
use crate::problem::Problem;

/// Runs to an answer. A panic is a 500 whose message goes to the log.
pub(crate) async fn survived(running: impl Future<Output = Answer>) -> Answer {
    let survived = AssertUnwindSafe(running).catch_unwind().await;
    survived.unwrap_or_else(|panic| Answer::failed(problem(panic.as_ref())))
}

/// Does one step of a handler.
#[inline]
pub(crate) fn survive<T>(step: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| problem(panic.as_ref()))
}

fn problem(panic: &(dyn Any + Send)) -> Problem {
    Problem::internal(message(panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message"))
}
