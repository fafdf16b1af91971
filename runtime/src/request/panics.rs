//! Panics of the user's own code become 500s.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use futures_util::FutureExt;

use super::panic_location;
use crate::problem::{EndpointResponse, Problem};

/// Runs to an answer. A panic is a 500 whose message goes to the log.
pub(crate) async fn catch_panics(
    running: impl Future<Output = EndpointResponse>,
) -> EndpointResponse {
    let caught = AssertUnwindSafe(running).catch_unwind().await;
    caught.unwrap_or_else(|panic| EndpointResponse::failed(problem(HANDLER, panic.as_ref())))
}

/// Takes one step in the user's own code, which `whose` names in the log.
#[inline]
pub(crate) fn catch_panic<T>(whose: &str, step: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| problem(whose, panic.as_ref()))
}

/// The name of the code in which most panics happen.
pub(crate) const HANDLER: &str = "the handler";

fn problem(whose: &str, panic: &(dyn Any + Send)) -> Problem {
    Problem::internal(message(whose, panic))
}

fn message(whose: &str, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let place = panic_location::format_location(text)
        .map_or_else(String::new, |place| format!(" at {place}"));
    format!(
        "{whose} panicked{place}: {}",
        text.unwrap_or("without a message")
    )
}
