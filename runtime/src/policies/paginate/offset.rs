use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::list::List;
use super::page::{Page, PageNavigation};
use super::query::{PageQuery, invalid_parameter, parse_limit, parse_positive};
use super::stage::EndpointPages;
use crate::problem::Problem;

/// The numbered page that a request asks for: `paginate = offset`. The first page is 1.
///
/// Use it if people look at the first pages of a list, with or without a total. If rows are
/// inserted or deleted meanwhile, the rows after them move, so a client sees some rows twice or
/// misses some. The database reads all rows up to the page, so no page extends beyond item
/// [`MAX_ITEM`](Self::MAX_ITEM).
///
/// ```
/// use aplomb::policies::paginate::{OffsetRequest, Page};
///
/// async fn list(page: OffsetRequest) -> Page<u64> {
///     // SELECT … ORDER BY name, id LIMIT {page.fetch_limit()} OFFSET {page.offset()}
///     let rows = (0..120).skip(page.offset()).take(page.fetch_limit()).collect();
///     // SELECT count(*) …, only if the client asks for the total
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
    /// The last item that a page can contain, counted from 1.
    pub const MAX_ITEM: u32 = 10_000;

    /// Creates a request to call a handler in a test: a page of up to `limit` items. A number of 0
    /// is raised to 1.
    pub fn new(page: u32, limit: u32) -> Self {
        Self {
            page: page.max(1),
            limit: limit.max(1),
            wants_total: false,
            list: List::default(),
        }
    }

    /// Returns the same request with `total=true`.
    #[must_use]
    pub fn with_total(self) -> Self {
        Self {
            wants_total: true,
            ..self
        }
    }

    /// Returns the number of the page, starting with 1.
    pub const fn number(&self) -> usize {
        self.page as usize
    }

    /// Returns the maximum number of items on the page.
    pub const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Returns the number of rows to skip.
    pub const fn offset(&self) -> usize {
        (self.number() - 1).saturating_mul(self.limit())
    }

    /// Returns the number of rows to read: one more than the page has, which shows whether there is
    /// a next page.
    pub const fn fetch_limit(&self) -> usize {
        self.limit() + 1
    }

    /// Returns `true` if the client asks for the total number of items (`total=true`).
    pub const fn wants_total(&self) -> bool {
        self.wants_total
    }

    /// Returns the page of `rows`. Pass at most [`fetch_limit`](Self::fetch_limit) rows, in the
    /// order of the list. The response has the `total` only if the client asks for it.
    pub fn page<T>(&self, mut rows: Vec<T>, total: Option<u64>) -> Page<T> {
        let has_more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let total = total.filter(|_| self.wants_total);
        let links = self.links(has_more, total);
        Page::new(
            rows,
            PageNavigation::Numbered {
                page: self.page,
                total,
            },
            has_more,
            links,
        )
    }

    fn links(&self, has_more: bool, total: Option<u64>) -> String {
        let last_reachable = Self::MAX_ITEM / self.limit;
        let last = total.map(|total| u32::try_from(total.div_ceil(self.limit.into()).max(1)));
        let (limit, mut links) = (self.limit.to_string(), self.list.links());
        for (relation, page) in [
            ("first", Some(1)),
            ("prev", self.page.checked_sub(1).filter(|page| *page > 0)),
            ("next", self.page.checked_add(1).filter(|_| has_more)),
            ("last", last.and_then(Result::ok)),
        ] {
            if let Some(page) = page.filter(|page| *page <= last_reachable) {
                let page = page.to_string();
                let parameters = [("page", &page[..]), ("limit", &limit), ("total", "true")];
                let count = if self.wants_total { 3 } else { 2 };
                links.add(relation, &parameters[..count]);
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
        let query = PageQuery::read(
            parts.uri.query().unwrap_or_default(),
            ["page", "limit", "total"],
        )?;
        let [page, asked, total] = query.page_parameters;
        let (page, limit) = parse_page(page.as_deref(), parse_limit(asked.as_deref(), limits)?)?;
        let wants_total = parse_flag(total.as_deref())?;
        Ok(Self {
            page,
            limit,
            wants_total,
            list: List::new(parts, pages, query.filters),
        })
    }
}

/// Parses the number of the page. Refuses pages beyond [`OffsetRequest::MAX_ITEM`].
fn parse_page(page: Option<&str>, limit: u32) -> Result<(u32, u32), Problem> {
    let page = page.map_or(Ok(1), |page| parse_positive("page", page))?;
    if page.saturating_mul(limit) > OffsetRequest::MAX_ITEM {
        return Err(
            invalid_parameter("page", "TOO_FAR", DETAIL_TOO_FAR).with_detail(DETAIL_TOO_FAR)
        );
    }
    Ok((page, limit))
}

const DETAIL_TOO_FAR: &str = "numbered pages end at item 10000 (page × limit): narrow the list by its filters, or read it by cursor if the \
                       service offers that";

fn parse_flag(asked: Option<&str>) -> Result<bool, Problem> {
    match asked {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid_parameter(
            "total",
            "NOT_A_FLAG",
            "expected `true` or `false`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d08_pages_beyond_item_10_000_are_refused() {
        assert_eq!(parse_page(None, 50).expect("a page"), (1, 50));
        assert_eq!(parse_page(Some("200"), 50).expect("a page"), (200, 50));
        assert_eq!(parse_page(Some("10000"), 1).expect("a page"), (10_000, 1));
        for (page, limit) in [
            ("201", 50),
            ("10001", 1),
            ("4294967295", 100),
            ("1000000000", 1),
            (&"9".repeat(40), 1),
        ] {
            let problem = parse_page(Some(page), limit).expect_err(page);
            assert_eq!(
                (problem.code(), &problem.errors()[0].code[..]),
                ("INVALID_PARAMETER", "TOO_FAR")
            );
            assert!(problem.errors()[0].detail.contains("by cursor"));
        }
    }

    #[test]
    fn d08_an_invalid_page_or_flag_is_refused() {
        for wrong in ["0", "-1", "", "x", "1.5", "1e9", "+1"] {
            assert_eq!(
                &parse_page(Some(wrong), 50).expect_err(wrong).errors()[0].code[..],
                "NOT_POSITIVE"
            );
        }
        for wrong in ["1", "yes", "", "TRUE"] {
            assert!(parse_flag(Some(wrong)).is_err());
        }
    }

    #[test]
    fn d08_links_lead_only_to_pages_up_to_item_10_000() {
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
            "item 10,001 cannot be reached"
        );
        assert_eq!(relations(1, 50, false, Some(0)), ["first", "last"]);
    }
}
