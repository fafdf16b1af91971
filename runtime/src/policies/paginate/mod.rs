//! Pages by cursor: `paginate = cursor`.
//!
//! A cursor says where a page ended, as the sort key of its last item, so that rows that come and
//! go meanwhile neither repeat nor hide others. The order must be total: the declared sort, and a
//! unique tie-breaker.
//!
//! `limit` is the wanted number of items: the declared default without it, at most the declared
//! maximum; what is no whole number above zero is a 400. A page is
//! `{"data": […], "next_cursor": "…" | null, "has_more": true | false}` with a `Link` field
//! (RFC 8288) to the first and the next page, which keeps the other parameters.
//!
//! Cursors are signed and bound to the route, the filters (every other query parameter) and the
//! caller; one that is not this list's is a 400 `INVALID_CURSOR`. They give no rights.
//!
//! ```
//! use aplomb::policies::paginate::{Page, PageRequest};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct NewestFirst { id: u64 }
//!
//! async fn list(page: PageRequest<NewestFirst>) -> Page<u64> {
//!     let before = page.after().map_or(u64::MAX, |last| last.id);
//!     // SELECT id FROM payments WHERE id < {before} ORDER BY id DESC LIMIT {page.fetch_limit()}
//!     let rows = (0..before.min(1000)).rev().take(page.fetch_limit()).collect();
//!     page.page(rows, |id| NewestFirst { id: *id })
//! }
//! # let _ = axum::Router::<()>::new().route("/payments", axum::routing::get(list));
//! ```

mod cursor;
mod page;
mod request;
mod spec;

pub(crate) use cursor::Cursors;
pub use page::Page;
pub use request::PageRequest;
pub use spec::{PageLimits, PaginationPolicy};
