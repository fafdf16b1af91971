//! The largest request body: `body_limit = "1MB"`; 1 MiB by default.
//!
//! A body whose `Content-Length` exceeds the limit is rejected with a 413 `BODY_TOO_LARGE` before
//! any of it is read. A body of unknown length is rejected as soon as it exceeds the limit. If a
//! body stalls for five seconds, the request gets a 408 `REQUEST_TIMEOUT`.
//!
//! The rest of a rejected body is read and discarded, so that the connection can be used again.
//! The service stops reading after 16 MiB, after five seconds, or when the client pauses. The rest
//! of a body that an extractor leaves unread is not discarded.
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
