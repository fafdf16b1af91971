//! The largest request body: `body_limit = "1MB"`; 1 MiB where an endpoint declares none.
//!
//! A body whose announced length is over the limit is refused with 413 `BODY_TOO_LARGE` before any
//! of it is read; one of unknown length as soon as it grows over it. A body that stops coming for
//! five seconds is a 408 `REQUEST_TIMEOUT`. What a refused client still sends is read and forgotten,
//! up to 16 MiB and five seconds while it keeps coming, so that its connection stays usable; what an
//! extractor leaves unread is not.
//!
//! The limit also replaces axum's own of 2 MB where it is larger.
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
//! let api: Api<()> = Api::new("pictures", routes![put_picture]).body_limit(64 << 10); // for the others
//! # let _ = api;
//! ```

mod stage;

pub(crate) use stage::BodyStage;
