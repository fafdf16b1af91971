//! Extractors and handler.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use futures_util::FutureExt;

use super::panics;
use crate::endpoint::Answer;
use crate::problem::Problem;

/// Runs to an answer. A panic is a 500 whose message goes to the log.
pub(crate) async fn survived(running: impl Future<Output = Answer>) -> Answer {
    let survived = AssertUnwindSafe(running).catch_unwind().await;
    survived.unwrap_or_else(|panic| Answer::failed(problem(HANDLER, panic.as_ref())))
}

/// Does one step of what is the user's own.
#[inline]
pub(crate) fn survive<T>(whose: &str, step: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| problem(whose, panic.as_ref()))
}

/// What most panics are of, for the log.
pub(crate) const HANDLER: &str = "the handler";

fn problem(whose: &str, panic: &(dyn Any + Send)) -> Problem {
    Problem::internal(message(whose, panic))
}

fn message(whose: &str, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let place = panics::place(text).map_or_else(String::new, |place| format!(" at {place}"));
    format!("{whose} panicked{place}: {}", text.unwrap_or("without a message"))
}
