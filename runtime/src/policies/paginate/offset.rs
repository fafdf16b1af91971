use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::list::List;
use super::page::{Page, PageLinks};
use super::query::{Query, invalid, limit, positive};
use super::stage::EndpointPages;
use crate::problem::Problem;

/// Which page a request wants of a list whose pages are counted, from 1: `paginate = offset`.
///
/// For lists of which people look at the first pages, with a total or not. Rows that come and go meanwhile
/// shift the others, so that some are seen twice and some never; and a database reads all rows up to the page.
/// So no page reaches beyond the item [`MAX_ITEM`](Self::MAX_ITEM).
///
/// ```
/// use aplomb::policies::paginate::{OffsetRequest, Page};
///
/// async fn list(page: OffsetRequest) -> Page<u64> {
///     // SELECT … ORDER BY name, id LIMIT {page.fetch_limit()} OFFSET {page.offset()}
///     let rows = (0..120).skip(page.offset()).take(page.fetch_limit()).collect();
///     // SELECT count(*) …, only where it is asked for
///     let total = page.wants_total().then_some(120);
///     page.page(rows, total)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let page = list(OffsetRequest::new(3, 50)).await;
/// assert_eq!((page.items().len(), page.has_more(), page.total()), (20, false, None));
/// # }
/// ```
#[derive(Debug)]
pub struct OffsetRequest {
    page: u32,
    limit: u32,
    wants_total: bool,
    list: List,
}

impl OffsetRequest {
    /// The last item that a page can have, counted from 1.
    pub const MAX_ITEM: u32 = 10_000;

    /// A page of up to `limit` items, both at least one: for calling a handler in a test.
    pub fn new(page: u32, limit: u32) -> Self {
        Self {
            page: page.max(1),
            limit: limit.max(1),
            wants_total: false,
            list: List::default(),
        }
    }

    /// The same request of a client that asks for the total.
    #[must_use]
    pub fn with_total(self) -> Self {
        Self {
            wants_total: true,
            ..self
        }
    }

    /// The number of the page, from 1.
    pub const fn number(&self) -> usize {
        self.page as usize
    }

    /// The number of items that the page has at most.
    pub const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How many rows to leave out.
    pub const fn offset(&self) -> usize {
        (self.number() - 1).saturating_mul(self.limit())
    }

    /// How many rows to read: one more than the page has, which tells whether there is a next.
    pub const fn fetch_limit(&self) -> usize {
        self.limit() + 1
    }

    /// Whether the client asks how many items the list has: `total=true`.
    pub const fn wants_total(&self) -> bool {
        self.wants_total
    }

    /// The page of `rows`, of which up to [`fetch_limit`](Self::fetch_limit) were read in order. A total that
    /// nobody asked for is not told.
    pub fn page<T>(&self, mut rows: Vec<T>, total: Option<u64>) -> Page<T> {
        let has_more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let total = total.filter(|_| self.wants_total);
        let links = self.links(has_more, total);
        Page::new(
            rows,
            PageLinks::Counted {
                page: self.page,
                total,
            },
            has_more,
            links,
        )
    }

    fn links(&self, has_more: bool, total: Option<u64>) -> String {
        let furthest = Self::MAX_ITEM / self.limit;
        let last = total.map(|total| u32::try_from(total.div_ceil(self.limit.into()).max(1)));
        let (limit, mut links) = (self.limit.to_string(), self.list.links());
        for (relation, page) in [
            ("first", Some(1)),
            ("prev", self.page.checked_sub(1).filter(|page| *page > 0)),
            ("next", self.page.checked_add(1).filter(|_| has_more)),
            ("last", last.and_then(Result::ok)),
        ] {
            if let Some(page) = page.filter(|page| *page <= furthest) {
                let page = page.to_string();
                let parameters = [("page", &page[..]), ("limit", &limit), ("total", "true")];
                let told = if self.wants_total { 3 } else { 2 };
                links.add(relation, &parameters[..told]);
            }
        }
        links.finish()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OffsetRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pages = parts.extensions.get::<Arc<EndpointPages>>().cloned();
        let limits = pages.as_ref().map(|pages| pages.limits).unwrap_or_default();
        let query = Query::read(
            parts.uri.query().unwrap_or_default(),
            ["page", "limit", "total"],
        )?;
        let [page, asked, total] = query.own;
        let (page, limit) = within(page.as_deref(), limit(asked.as_deref(), limits)?)?;
        let wants_total = flag(total.as_deref())?;
        Ok(Self {
            page,
            limit,
            wants_total,
            list: List::new(parts, pages, query.filters),
        })
    }
}

/// The page of this size, if it is within reach.
fn within(page: Option<&str>, limit: u32) -> Result<(u32, u32), Problem> {
    let page = page.map_or(Ok(1), |page| positive("page", page))?;
    if page.saturating_mul(limit) > OffsetRequest::MAX_ITEM {
        return Err(invalid("page", "TOO_FAR", DETAIL_TOO_FAR).with_detail(DETAIL_TOO_FAR));
    }
    Ok((page, limit))
}

const DETAIL_TOO_FAR: &str = "counted pages end at item 10000 (page × limit): narrow the list down by its filters, or read it by \
                       cursor where the service has it so";

fn flag(asked: Option<&str>) -> Result<bool, Problem> {
    match asked {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid("total", "NOT_A_FLAG", "expected `true` or `false`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d08_pages_end_at_item_10_000() {
        assert_eq!(within(None, 50).expect("the first"), (1, 50));
        assert_eq!(within(Some("200"), 50).expect("the last"), (200, 50));
        assert_eq!(within(Some("10000"), 1).expect("the last"), (10_000, 1));
        for (page, limit) in [
            ("201", 50),
            ("10001", 1),
            ("4294967295", 100),
            ("1000000000", 1),
            (&"9".repeat(40), 1),
        ] {
            let problem = within(Some(page), limit).expect_err(page);
            assert_eq!(
                (problem.code(), &problem.errors()[0].code[..]),
                ("INVALID_PARAMETER", "TOO_FAR")
            );
            assert!(problem.errors()[0].detail.contains("by cursor"));
        }
    }

    #[test]
    fn d08_what_is_no_page_is_refused() {
        for wrong in ["0", "-1", "", "x", "1.5", "1e9", "+1"] {
            assert_eq!(
                &within(Some(wrong), 50).expect_err(wrong).errors()[0].code[..],
                "NOT_POSITIVE"
            );
        }
        for wrong in ["1", "yes", "", "TRUE"] {
            assert!(flag(Some(wrong)).is_err());
        }
    }

    #[test]
    fn d08_links_lead_to_pages_within_reach() {
        let relations = |page: u32, limit, has_more, total| {
            let links = OffsetRequest::new(page, limit)
                .with_total()
                .links(has_more, total);
            links
                .split(", ")
                .map(|link| link.split('"').nth(1).expect("a relation").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(relations(1, 50, true, None), ["first", "next"]);
        assert_eq!(relations(2, 50, false, Some(70)), ["first", "prev", "last"]);
        assert_eq!(
            relations(200, 50, true, Some(10_001)),
            ["first", "prev"],
            "item 10,001 is out of reach"
        );
        assert_eq!(relations(1, 50, false, Some(0)), ["first", "last"]);
    }
}
