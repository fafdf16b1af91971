//! The largest request body: `body_limit = "1MB"`; 1 MiB by default.
//!
//! A body whose `Content-Length` exceeds the limit is rejected with a 413 `BODY_TOO_LARGE` before
//! any of it is read. A body of unknown length is rejected as soon as it exceeds the limit.
//!
//! A client that is silent for five seconds (`APLOMB_BODY_TIMEOUT`), or that sends less than 512 bytes
//! per second after the first ten seconds (`APLOMB_BODY_MIN_RATE`), gets a 408 `REQUEST_TIMEOUT`.
//!
//! The rest of a body that is rejected, or that an extractor or the handler leaves unread, is read and
//! discarded. Otherwise a client that still sends could lose the response. The service stops reading
//! after 16 MiB, after five seconds, or when the client pauses.
//!
//! A larger limit also replaces the limit of axum's extractors, 2 MB.
//!
//! ```
//! use aplomb::prelude::*;
//!
//! /// Takes a picture.
//! #[endpoint(put = "/picture", version = 1, body_limit = "5MiB")]
//! async fn put_picture(picture: axum::body::Bytes) -> NoContent {
//!     let _ = picture.len();
//!     NoContent
//! }
//!
//! let api: Api<()> = Api::new("pictures", routes![put_picture]).body_limit(64 << 10); // for other endpoints
//! # let _ = api;
//! ```

mod stage;

pub(crate) use stage::BodyStage;
