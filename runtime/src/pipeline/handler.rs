//! Extractors and handler.

use core::any::Any;
use core::panic::AssertUnwindSafe;

use axum::extract::Request;
use futures_util::FutureExt;

use super::context::Run;
use crate::endpoint::Answer;
use crate::problem::Problem;

/// Runs the request. A panic is a 500 whose message goes to the log.
pub(crate) async fn run(run: &Run, request: Request) -> Answer {
    let running = AssertUnwindSafe(run(request)).catch_unwind();
    running.await.unwrap_or_else(|panic| Answer::failed(Problem::internal(message(panic.as_ref()))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("without a message"))
}
