//! Lists, page by page: `paginate = cursor`, and `paginate = offset` where pages have numbers.
//!
//! # By cursor
//!
//! A cursor says where a page ended, as the sort key of its last item, so that rows that come and
//! go meanwhile neither repeat nor hide others, and a page costs the same wherever it lies. The order must be
//! total: [`derive(CursorKey)`](derive@crate::CursorKey) makes the key of a struct of the sort columns, of which
//! the last is unique.
//!
//! `limit` is the wanted number of items: the declared default without it, at most the declared
//! maximum; what is no whole number above zero is a 400. A page is
//! `{"data": […], "next_cursor": "…" | null, "has_more": true | false}` with a `Link` field
//! (RFC 8288) to the first and the next page, which keeps the other parameters. A list that is read
//! [both ways](PageRequest::bidirectional) has `prev_cursor` and a link to the page before as well.
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
//! [`Bidirectional::keyset`] writes that condition, in either direction and for any number of columns;
//! [`Bidirectional::in_slice`] and [`Bidirectional::in_map`] read sorted collections.
//!
//! Cursors are signed and bound to the route, the path, the filters (every other query parameter), the caller,
//! the sort and the direction; one that is not this list's is a 400 `INVALID_CURSOR`. They give no rights.
//!
//! What surprises:
//!
//! - Change the sort columns, their order or their directions, and the cursors of before are a 400.
//! - `next_cursor` of a page that was reached backward is always there: it leads back. A page that has lost all
//!   of its rows still leads to those on either side of it.
//! - A text column must be compared byte by byte (`SQLite`'s `BINARY`, Postgres' `COLLATE "C"`), or the rows of a
//!   page are not those that its cursor speaks of.
//! - The values of a key take room in every cursor: at most about 3,000 bytes.
//!
//! # By number
//!
//! [`OffsetRequest`] reads `?page=&limit=`, with the first page at 1, up to the item 10,000. The page tells its
//! number and, to a client that writes `total=true`, how many items there are.

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
pub(crate) use cursor::{Binding, HEAD};
pub use key::{CursorKey, Direction, InOrder, SortColumn};
pub use keyset::{Keyset, KeysetSql, Placeholders};
pub use offset::OffsetRequest;
pub use page::Page;
pub use position::Position;
pub use request::PageRequest;
pub use spec::{PageLimits, PaginationPolicy};
pub(crate) use stage::PageStage;
pub use value::{CursorField, CursorValue};
