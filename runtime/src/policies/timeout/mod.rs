//! Response deadlines: `timeout = "5s"`; 30 seconds where an endpoint declares none.
//!
//! A request that has no answer when its deadline is over gets a 504 `DEADLINE_EXCEEDED`, which is
//! `retryable` where the request is idempotent: by its method, or by its key. Without a key the
//! handler is cancelled: its future is dropped at the point where it waits. Under a key it goes on
//! in a task that it gets then, and a retry gets its answer. A handler that blocks its thread is not
//! interrupted: its answer comes late, in place of the 504.
//!
//! The deadline counts from the request's head and covers its body, the store, the handler and the
//! making of the response; not the sending of a streamed body.
//!
//! ```
//! use aplomb::prelude::*;
//! use core::time::Duration;
//!
//! /// Asks a slow neighbour, for a while.
//! #[endpoint(get = "/quote", version = 1, timeout = "500ms")]
//! async fn quote() -> String {
//!     String::from("1.08")
//! }
//!
//! let api: Api<()> = Api::new("quotes", routes![quote]).timeout(Duration::from_secs(10)); // for the others
//! # let _ = api;
//! ```
