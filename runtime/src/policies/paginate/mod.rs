//! Paginated lists: `paginate = cursor`, or `paginate = offset` for numbered pages.
//!
//! # By cursor
//!
//! A cursor contains the sort key of the last item of a page. The next page starts after that key.
//! If rows are inserted or deleted meanwhile, no other row is repeated or missing, and every page
//! costs the same. [`derive(CursorKey)`](derive@crate::CursorKey) turns a struct of the sort
//! columns into the key. The last column must be unique, so that no two rows have the same
//! position.
//!
//! The query parameter `limit` sets the number of items. Without `limit`, the declared default is
//! used. A larger number is lowered to the declared maximum. A value that is not a whole number
//! above zero gets a 400. A page is
//! `{"data": […], "next_cursor": "…" | null, "has_more": true | false}`. A `Link` field (RFC 8288)
//! has the URIs of the first and the next page, with the other query parameters of the request. A
//! list that is read in [both directions](PageRequest::bidirectional) also has `prev_cursor` and a
//! link to the previous page.
//!
//! ```
//! use aplomb::CursorKey;
//! use aplomb::policies::paginate::{Page, PageRequest};
//!
//! #[derive(CursorKey)]
//! struct NewestFirst {
//!     #[cursor(desc, unique)]
//!     id: i64,
//! }
//!
//! async fn list(page: PageRequest<NewestFirst>) -> Page<i64> {
//!     let before = page.after().map_or(i64::MAX, |last| last.id);
//!     // SELECT id FROM payments WHERE id < {before} ORDER BY id DESC LIMIT {page.fetch_limit()}
//!     let rows = (0..before.min(1000)).rev().take(page.fetch_limit()).collect();
//!     page.page(rows, |id| NewestFirst { id: *id })
//! }
//! # let _ = axum::Router::<()>::new().route("/payments", axum::routing::get(list));
//! ```
//!
//! [`Bidirectional::keyset`] generates the condition of such a query, in either direction and for
//! any number of columns. [`Bidirectional::in_slice`] and [`Bidirectional::in_map`] read sorted
//! collections.
//!
//! Cursors are signed. They are bound to the route, the path, the filters (all other query
//! parameters), the caller, the sort columns and the direction. A cursor of another list gets a 400
//! `INVALID_CURSOR`. A cursor does not replace authorization.
//!
//! Surprises:
//!
//! - After a change of the sort columns, their order or their directions, older cursors get a 400.
//! - A page that was reached backward always has a `next_cursor`, because the page after it exists.
//!   If all rows of a page have been deleted, the page still has a cursor that leads back to other
//!   rows.
//! - A text column must be compared byte by byte (`BINARY` in `SQLite`, `COLLATE "C"` in Postgres).
//!   Otherwise the database and the cursor disagree about the order of rows.
//! - Every cursor contains the values of its key, which can take about 3,000 bytes at most.
//!
//! # By number
//!
//! [`OffsetRequest`] reads `?page=&limit=`. Pages are numbered from 1 and reach up to item 10,000.
//! The page has its number and, if the client sends `total=true`, the total number of items.

mod bidirectional;
mod cursor;
mod key;
mod keyset;
mod links;
mod list;
mod offset;
mod page;
mod payload;
mod position;
mod query;
mod request;
mod spec;
#[cfg(feature = "sqlx")]
mod sqlx;
mod stage;
mod value;
#[cfg(not(feature = "sqlx"))]
mod without_sqlx;

pub use bidirectional::Bidirectional;
pub(crate) use cursor::Cursors;
#[cfg(any(test, fuzzing))]
pub(crate) use cursor::{Binding, HEADER};
pub use key::{CursorKey, Direction, InOrder, SortColumn};
pub use keyset::{Keyset, KeysetSql, Placeholders};
pub use offset::OffsetRequest;
pub use page::Page;
pub use position::Position;
pub use request::PageRequest;
pub use spec::{PageLimits, PaginationPolicy};
pub(crate) use stage::PageStage;
pub use value::{CursorField, CursorValue};
