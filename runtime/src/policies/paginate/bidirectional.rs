use core::ops::Bound;
use std::collections::BTreeMap;

use super::key::{CursorKey, InOrder};
use super::keyset::Keyset;
use super::page::{Page, PageNavigation};
use super::position::Position;
use super::request::PageRequest;

/// The request for a page of a list that is read in both directions.
/// [`PageRequest::bidirectional`](PageRequest::bidirectional) creates it.
///
/// Read the rows after or before the position, the nearest row first. A page before a key, or at
/// the end, is read in the reverse order of the list. [`keyset`](Self::keyset) generates the SQL
/// for this order. [`in_slice`](Self::in_slice) and [`in_map`](Self::in_map) read sorted
/// collections. [`page`](Self::page) restores the order of the list.
///
/// ```
/// use aplomb::CursorKey;
/// use aplomb::policies::paginate::{Page, PageRequest, Position};
///
/// #[derive(CursorKey)]
/// struct ByNumber {
///     #[cursor(unique)]
///     number: i64,
/// }
///
/// async fn list(page: PageRequest<ByNumber>) -> Page<i64> {
///     let sorted: Vec<i64> = (0..100).collect();
///     let page = page.bidirectional();
///     let key = |number: &i64| ByNumber { number: *number };
///     let rows = page.in_slice(&sorted, key).copied().collect();
///     page.page(rows, key)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let page = list(PageRequest::at(Position::Before(ByNumber { number: 50 }), 3)).await;
/// assert_eq!(page.items(), [47, 48, 49]);
/// assert!(page.prev_cursor().is_some() && page.next_cursor().is_some());
/// # }
/// ```
#[derive(Debug)]
pub struct Bidirectional<K> {
    request: PageRequest<K>,
}

impl<K: CursorKey> Bidirectional<K> {
    pub(super) const fn new(request: PageRequest<K>) -> Self {
        Self { request }
    }

    /// Returns the position of the page and the direction in which it is read.
    pub fn position(&self) -> Position<&K> {
        self.request.position.as_ref().map(|InOrder(key)| key)
    }

    /// Returns the maximum number of items on the page.
    pub const fn limit(&self) -> usize {
        self.request.limit()
    }

    /// Returns the number of rows to read: one more than the page has, which shows whether there is
    /// another page.
    pub const fn fetch_limit(&self) -> usize {
        self.request.fetch_limit()
    }

    /// Returns the condition, the order and the limit of the query that reads the rows.
    pub fn keyset(&self) -> Keyset {
        Keyset::new(&self.position(), self.fetch_limit())
    }

    /// Finds the rows in `items` by binary search. `items` must be sorted by `K`. Returns the
    /// nearest row first.
    pub fn in_slice<'i, T>(
        &self,
        items: &'i [T],
        key: impl Fn(&T) -> K,
    ) -> impl Iterator<Item = &'i T> {
        let count_before = |bound: &K, inclusive: bool| {
            items.partition_point(|item| {
                let order = key(item).compare(bound);
                order.is_lt() || (inclusive && order.is_eq())
            })
        };
        let (range, backward) = match self.position() {
            Position::Start => (items, false),
            Position::After(key) => (&items[count_before(key, true)..], false),
            Position::Before(key) => (&items[..count_before(key, false)], true),
            Position::End => (items, true),
        };
        nearest_first(range.iter(), backward, self.fetch_limit())
    }

    /// Finds the rows in a map by a search in its tree. Returns the nearest row first.
    pub fn in_map<'m, V>(
        &self,
        map: &'m BTreeMap<InOrder<K>, V>,
    ) -> impl Iterator<Item = (&'m K, &'m V)> {
        let range = match &self.request.position {
            Position::Start | Position::End => (Bound::Unbounded, Bound::Unbounded),
            Position::After(key) => (Bound::Excluded(key), Bound::Unbounded),
            Position::Before(key) => (Bound::Unbounded, Bound::Excluded(key)),
        };
        let rows = map.range(range).map(|(InOrder(key), value)| (key, value));
        nearest_first(
            rows,
            self.request.position.is_backward(),
            self.fetch_limit(),
        )
    }

    /// Returns the page of `rows`. Pass at most [`fetch_limit`](Self::fetch_limit) rows, with the
    /// nearest row first.
    pub fn page<T>(&self, rows: Vec<T>, key: impl Fn(&T) -> K) -> Page<T> {
        self.request
            .build_page(rows, key, |cursors| PageNavigation::Bidirectional {
                next_cursor: cursors.next,
                prev_cursor: cursors.previous,
            })
    }
}

fn nearest_first<T>(
    mut rows: impl DoubleEndedIterator<Item = T>,
    backward: bool,
    limit: usize,
) -> impl Iterator<Item = T> {
    core::iter::from_fn(move || {
        if backward {
            rows.next_back()
        } else {
            rows.next()
        }
    })
    .take(limit)
}
