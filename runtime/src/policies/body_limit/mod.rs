//! The largest request body: `body_limit = "1MB"`; 1 MiB by default.
//!
//! A body whose `Content-Length` exceeds the limit is rejected with a 413 `BODY_TOO_LARGE` before
//! any of it is read. A body of unknown length is rejected as soon as it exceeds the limit.
//!
//! A client that is silent for five seconds (`APLOMB_BODY_TIMEOUT`) gets a 408 `REQUEST_TIMEOUT`. A
//! client that sends less than 512 bytes per second after the first ten seconds
//! (`APLOMB_BODY_MIN_RATE`) also gets this 408.
//!
//! If a body is rejected, or if the extractors and the handler do not read all of it, the service
//! reads and discards the rest. Otherwise a client that is still sending the body could lose the
//! response. The service stops reading after 16 MiB, after five seconds, or when the client pauses.
//!
//! # Content codings
//!
//! Aplomb decodes no content coding. An endpoint that reads a body refuses every `Content-Encoding`
//! except `identity` with a 415 `UNSUPPORTED_MEDIA_TYPE`, before it reads the body. The response has
//! the field `Accept-Encoding: identity`. Handlers whose last argument is axum's `Request` or `Body`
//! get coded bodies unchanged, with the `Content-Encoding` field.
//!
//! To accept compressed bodies, put the `RequestDecompressionLayer` of tower-http around the router
//! of [`into_router`](crate::Api::into_router). This layer decodes the body and removes the field
//! `Content-Encoding`. The limit then applies to the decoded bytes, so a small compressed body cannot
//! become a large one.
//!
//! ```text
//! let router = api.into_router(state).await?.layer(RequestDecompressionLayer::new());
//! ```
//!
//! # Memory
//!
//! The bodies that are in memory at the same time are bounded over all connections, to 128 MiB
//! (`APLOMB_BODY_MEMORY`, [`Api::body_memory`](crate::Api::body_memory)). If the next part of a body
//! does not fit, the request gets a 503 `OVERLOADED` with a `Retry-After` of one to three seconds. Its
//! handler does not run, and no record of an idempotency key begins.
//!
//! - The first 16 KiB of each body are counted separately while they arrive, up to the same limit. So
//!   small bodies pass while other clients send large ones.
//! - Bytes are counted when they arrive. A client cannot reserve memory with a `Content-Length`.
//! - The bytes are counted until the request ends. A handler that keeps them longer, such as in a
//!   task, must bound them itself.
//! - The body is not counted if the request has no key and the last argument is axum's `Request`,
//!   `Body` or, with the feature `multipart`, `Multipart`. The handler itself must limit how much of
//!   the body it keeps.
//! - The buffer of a body that arrives in parts can be up to twice as large as the body.
//! - The bound has no share for each client. If a few clients use it up with slow uploads, all bodies
//!   over 16 KiB get a 503. A rate limit by caller bounds the uploads of one client.
//!
//! # axum's own limit
//!
//! The extractors of axum have their own limit of 2 MiB. A `body_limit` above 2 MiB also replaces
//! that limit.
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
