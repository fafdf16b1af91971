use core::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::bidirectional::Bidirectional;
use super::cursor::invalid_cursor;
use super::key::{CursorKey, InOrder};
use super::list::{List, NeighbourCursors};
use super::page::{Page, PageNavigation};
use super::position::{Neighbours, Position};
use super::query::{PageQuery, parse_limit};
use super::stage::EndpointPages;
use crate::problem::Problem;

/// The page that a request asks for: up to [`limit`](Self::limit) items from a position in a list
/// that is sorted by `K`.
///
/// If a handler reads rows from [`after`](Self::after) and returns [`page`](Self::page), clients
/// can read the list forward only. With [`bidirectional`](Self::bidirectional), they can also read
/// it backward.
pub struct PageRequest<K> {
    pub(super) position: Position<InOrder<K>>,
    pub(super) limit: u32,
    list: List,
}

impl<K> PageRequest<K> {
    /// Creates a request to call a handler in a test: a page of up to `limit` items (at least one)
    /// after a key.
    ///
    /// ```
    /// use aplomb::CursorKey;
    /// use aplomb::policies::paginate::{Page, PageRequest};
    ///
    /// #[derive(CursorKey)]
    /// struct Downwards {
    ///     #[cursor(desc, unique)]
    ///     number: i64,
    /// }
    ///
    /// async fn list(page: PageRequest<Downwards>) -> Page<i64> {
    ///     let below = page.after().map_or(10, |last| last.number);
    ///     page.page((0..below).rev().take(page.fetch_limit()).collect(), |number| Downwards { number: *number })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let page = list(PageRequest::new(Some(Downwards { number: 3 }), 2)).await;
    /// assert_eq!(page.items(), [2, 1]);
    /// assert!(page.next_cursor().is_some());
    /// # }
    /// ```
    pub fn new(after: Option<K>, limit: u32) -> Self {
        Self::at(after.map_or(Position::Start, Position::After), limit)
    }

    /// Creates a request to call a handler in a test: a page of up to `limit` items (at least one)
    /// from a position.
    pub fn at(position: Position<K>, limit: u32) -> Self {
        Self {
            position: position.map(InOrder),
            limit: limit.max(1),
            list: List::default(),
        }
    }

    /// Returns the key of the last item of the previous page, or `None` for the first page. Use it
    /// for lists that are read forward only.
    pub const fn after(&self) -> Option<&K> {
        match &self.position {
            Position::After(InOrder(key)) => Some(key),
            _ => None,
        }
    }

    /// Returns the maximum number of items on the page.
    pub const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Returns the number of rows to read: one more than the page has, which shows whether there is
    /// a next page.
    pub const fn fetch_limit(&self) -> usize {
        self.limit as usize + 1
    }

    /// Converts the request into the request of a list that is read in both directions.
    pub const fn bidirectional(self) -> Bidirectional<K>
    where
        K: CursorKey,
    {
        Bidirectional::new(self)
    }

    /// Returns the page of `rows`. Pass at most [`fetch_limit`](Self::fetch_limit) rows, in the
    /// order of the list.
    pub fn page<T>(&self, rows: Vec<T>, key: impl Fn(&T) -> K) -> Page<T>
    where
        K: CursorKey,
    {
        // Clients can have backward cursors if the list was bidirectional before.
        if self.position.is_backward() {
            return Page::failed(invalid_cursor());
        }
        self.build_page(rows, key, |cursors| PageNavigation::Forward {
            next_cursor: cursors.next,
        })
    }

    /// Returns the page of `rows`, which are in the order in which they were read.
    pub(super) fn build_page<T>(
        &self,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> K,
        navigation: impl FnOnce(NeighbourCursors) -> PageNavigation,
    ) -> Page<T>
    where
        K: CursorKey,
    {
        let more = rows.len() > self.limit();
        rows.truncate(self.limit());
        if self.position.is_backward() {
            rows.reverse();
        }
        let cursors =
            match self
                .list
                .neighbour_cursors(&Neighbours::around(&self.position, &rows, more, key))
            {
                Ok(cursors) => cursors,
                Err(too_long) => return Page::failed(Problem::internal(too_long)),
            };
        let has_more = cursors.next.is_some();
        let navigation = navigation(cursors);
        let links = self.links(&navigation);
        Page::new(rows, navigation, has_more, links)
    }

    fn links(&self, navigation: &PageNavigation) -> String {
        let (previous, next) = match navigation {
            PageNavigation::Forward { next_cursor } => (None, next_cursor.as_deref()),
            PageNavigation::Bidirectional {
                next_cursor,
                prev_cursor,
            } => (prev_cursor.as_deref(), next_cursor.as_deref()),
            PageNavigation::Numbered { .. } => (None, None),
        };
        let mut buffer = itoa::Buffer::new();
        let limit = ("limit", buffer.format(self.limit));
        let mut links = self.list.links();
        links.add("first", &[limit]);
        for (relation, cursor) in [("prev", previous), ("next", next)] {
            if let Some(cursor) = cursor {
                links.add(relation, &[limit, ("cursor", cursor)]);
            }
        }
        links.finish()
    }
}

impl<K> fmt::Debug for PageRequest<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRequest")
            .field("limit", &self.limit)
            .field("position", &self.position.as_ref().map(|_| ".."))
            .finish_non_exhaustive()
    }
}

impl<S, K> FromRequestParts<S> for PageRequest<K>
where
    S: Send + Sync,
    K: CursorKey,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pages = parts.extensions.get::<Arc<EndpointPages>>().cloned();
        let limits = pages.as_ref().map(|pages| pages.limits).unwrap_or_default();
        let query = PageQuery::read(parts.uri.query().unwrap_or_default(), ["limit", "cursor"])?;
        let [asked, cursor] = query.page_parameters;
        let limit = parse_limit(asked.as_deref(), limits)?;
        let list = List::new(parts, pages, query.filters);
        let position = cursor
            .map_or(Ok(Position::Start), |cursor| list.read(&cursor))?
            .map(InOrder);
        Ok(Self {
            position,
            limit,
            list,
        })
    }
}
