//! Turns panics in the user's code into 500s.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use futures_util::FutureExt;

use super::panic_location;
use crate::problem::{EndpointResponse, Problem};

/// Runs a handler to its end. A panic becomes a 500, and its message goes to the log.
pub(crate) async fn catch_panics(
    running: impl Future<Output = EndpointResponse>,
) -> EndpointResponse {
    let caught = AssertUnwindSafe(running).catch_unwind().await;
    caught.unwrap_or_else(|panic| EndpointResponse::failed(problem(HANDLER, panic.as_ref())))
}

/// Calls the user's code. `code_name` names the code in the log if it panics.
#[inline]
pub(crate) fn catch_panic<T>(code_name: &str, step: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| problem(code_name, panic.as_ref()))
}

/// The `code_name` of handlers and extractors.
pub(crate) const HANDLER: &str = "the handler";

fn problem(code_name: &str, panic: &(dyn Any + Send)) -> Problem {
    Problem::internal(message(code_name, panic))
}

fn message(code_name: &str, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let location = panic_location::take_location(text)
        .map_or_else(String::new, |location| format!(" at {location}"));
    format!(
        "{code_name} panicked{location}: {}",
        text.unwrap_or("without a message")
    )
}
