//! Response deadlines: `timeout = "5s"`; 30 seconds by default.
//!
//! A request without a response at its deadline gets a 504 `DEADLINE_EXCEEDED`. The problem is
//! `retryable` if the request is idempotent, by its method or by its key. Without a key the handler
//! is cancelled: its future is dropped at its current `.await`. With an idempotency key, the
//! handler continues in a separate task, and a retry gets the response of the handler. A handler
//! that blocks its thread cannot be interrupted: its late response is sent instead of the 504.
//!
//! The deadline starts when the request's head has arrived. It covers the body, the store, the
//! handler and the creation of the response, but not the transmission of a streamed body.
//!
//! ```
//! use aplomb::prelude::*;
//! use core::time::Duration;
//!
//! /// Reads a quote from a slow service.
//! #[endpoint(get = "/quote", version = 1, timeout = "500ms")]
//! async fn quote() -> String {
//!     String::from("1.08")
//! }
//!
//! let api: Api<()> = Api::new("quotes", routes![quote]).timeout(Duration::from_secs(10)); // for other endpoints
//! # let _ = api;
//! ```
