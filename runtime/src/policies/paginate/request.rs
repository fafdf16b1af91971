use core::fmt;
use std::sync::OnceLock;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor::{Binding, Cursors};
use super::page::{Page, links};
use super::spec::{PageLimits, PaginationPolicy};
use crate::extract::{check_utf8, original_uri};
use crate::pipeline::Context;
use crate::problem::{FieldError, Location, Problem, registry};
use crate::secret::Secret;

/// Which page a request wants: up to [`limit`](Self::limit) items after a key of type `K`.
///
/// `K` is the sort key of an item with its unique tie-breaker, whatever the query compares by.
pub struct PageRequest<K> {
    after: Option<K>,
    limit: u32,
    list: List,
}

/// The list that is asked for: whatever stays the same from page to page.
#[derive(Debug)]
struct List {
    context: Option<Context>,
    path: String,
    filters: Vec<(String, String)>,
}

impl<K> PageRequest<K> {
    /// A page of up to `limit` items, at least one, after a key: for calling a handler in a test.
    ///
    /// ```
    /// use aplomb::policies::paginate::{Page, PageRequest};
    ///
    /// async fn list(page: PageRequest<u64>) -> Page<u64> {
    ///     let below = page.after().copied().unwrap_or(10);
    ///     page.page((0..below).rev().take(page.fetch_limit()).collect(), |number| *number)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let page = list(PageRequest::new(Some(3), 2)).await;
    /// assert_eq!(page.items(), [2, 1]);
    /// assert!(page.next_cursor().is_some());
    /// # }
    /// ```
    pub fn new(after: Option<K>, limit: u32) -> Self {
        let list = List { context: None, path: String::new(), filters: Vec::new() };
        Self { after, limit: limit.max(1), list }
    }

    /// The key of the last item of the page before; `None` for the first page.
    pub const fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// The number of items that the page has at most.
    pub const fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How many rows to read: one more than the page has, which tells whether there is a next.
    pub const fn fetch_limit(&self) -> usize {
        self.limit as usize + 1
    }

    /// The page of `rows`, of which up to [`fetch_limit`](Self::fetch_limit) were read in order.
    pub fn page<T>(&self, mut rows: Vec<T>, key: impl FnOnce(&T) -> K) -> Page<T>
    where
        K: Serialize,
    {
        let has_more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let next = rows.last().filter(|_| has_more).map(key).map(|key| self.list.cursor(&key));
        match next.transpose() {
            Err(problem) => Page::failed(problem),
            Ok(next) => {
                let links = links(&self.list.path, &self.list.filters, next.as_deref(), self.limit);
                Page::new(rows, next, links)
            }
        }
    }
}

impl List {
    fn cursor<K: Serialize>(&self, key: &K) -> Result<String, Problem> {
        self.cursors().write(key, &self.binding()).map_err(Problem::internal)
    }

    fn read<K: DeserializeOwned>(&self, cursor: &str) -> Result<K, Problem> {
        self.cursors().read(cursor, &self.binding())
    }

    /// Outside of an API, as in a unit test, cursors are signed for this process.
    fn cursors(&self) -> &Cursors {
        static OUTSIDE: OnceLock<Cursors> = OnceLock::new();
        let outside = || OUTSIDE.get_or_init(|| Cursors::new(&Secret::random(), None, ""));
        self.context.as_ref().map_or_else(outside, Context::cursors)
    }

    fn binding(&self) -> Binding<'_> {
        let route = self.context.as_ref().map_or("", Context::route);
        let caller = self.context.as_ref().and_then(Context::caller);
        Binding { route, path: &self.path, filters: &self.filters, caller }
    }
}

impl<K> fmt::Debug for PageRequest<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRequest")
            .field("limit", &self.limit)
            .field("first", &self.after.is_none())
            .finish_non_exhaustive()
    }
}

impl<S, K> FromRequestParts<S> for PageRequest<K>
where
    S: Send + Sync,
    K: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let context = parts.extensions.get::<Context>().cloned();
        let limits = match context.as_ref().map(|context| context.spec().pagination) {
            Some(PaginationPolicy::Cursor(limits)) => limits,
            _ => PageLimits::default(),
        };
        let mut query = Query::read(parts.uri.query().unwrap_or_default())?;
        let limit = limit(query.limit.as_deref(), limits)?;
        // By name only: the order of a repeated parameter can matter.
        query.filters.sort_by(|(left, _), (right, _)| left.cmp(right));
        let list = List { context, path: original_uri(parts).path().to_owned(), filters: query.filters };
        let after = query.cursor.map(|cursor| list.read(&cursor)).transpose()?;
        Ok(Self { after, limit, list })
    }
}

#[derive(Default)]
struct Query {
    limit: Option<String>,
    cursor: Option<String>,
    filters: Vec<(String, String)>,
}

impl Query {
    fn read(text: &str) -> Result<Self, Problem> {
        check_utf8(text)?;
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned() {
            let place = match name.as_str() {
                "limit" => &mut query.limit,
                "cursor" => &mut query.cursor,
                _ => {
                    query.filters.push((name, value));
                    continue;
                }
            };
            if place.replace(value).is_some() {
                return Err(invalid(name, "REPEATED", "the parameter stands more than once"));
            }
        }
        Ok(query)
    }
}

/// The number of items: the default without `limit`, at most the maximum.
fn limit(asked: Option<&str>, limits: PageLimits) -> Result<u32, Problem> {
    let Some(asked) = asked else { return Ok(limits.default) };
    let refused = || invalid(String::from("limit"), "NOT_POSITIVE", "expected a whole number above zero");
    if asked.is_empty() || !asked.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    match asked.parse::<u32>().unwrap_or(u32::MAX) {
        0 => Err(refused()),
        asked => Ok(asked.min(limits.max)),
    }
}

fn invalid(parameter: String, code: &'static str, detail: &'static str) -> Problem {
    Problem::new(&registry::INVALID_PARAMETER)
        .with_detail(format!("the query parameter `{parameter}` cannot be read"))
        .with_error(FieldError::new(Location::Parameter(parameter.into()), code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PageLimits = PageLimits::new(50, 100);

    #[test]
    fn d04_the_limit_has_a_default_and_a_maximum() {
        assert_eq!(limit(None, LIMITS).expect("absent"), 50);
        assert_eq!(limit(Some("7"), LIMITS).expect("within"), 7);
        assert_eq!(limit(Some("101"), LIMITS).expect("over"), 100);
        assert_eq!(limit(Some("99999999999999999999"), LIMITS).expect("far over"), 100);
    }

    #[test]
    fn d04_what_is_no_positive_number_is_refused() {
        for wrong in ["0", "-1", "", "x", "1.5", "+1", " 1", "0x1", "00"] {
            assert_eq!(limit(Some(wrong), LIMITS).expect_err(wrong).status(), 400);
        }
    }

    #[test]
    fn repeated_parameters_are_refused() {
        assert!(Query::read("limit=1&limit=2").is_err());
        assert!(Query::read("cursor=1&x=2&cursor=1").is_err());
    }
}
