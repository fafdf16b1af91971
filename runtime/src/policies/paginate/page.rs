use axum::response::{IntoResponse, Response};
use form_urlencoded::Serializer;
use http::HeaderValue;
use http::header::LINK;
use serde::Serialize;

use crate::extract::Json;
use crate::problem::Problem;

/// One page of a list, made by [`PageRequest::page`](super::PageRequest::page).
#[derive(Debug)]
pub struct Page<T> {
    content: Result<Content<T>, Problem>,
    links: String,
}

/// A page's body.
#[derive(Debug, Serialize)]
struct Content<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
    has_more: bool,
}

impl<T> Page<T> {
    pub(super) fn new(data: Vec<T>, next_cursor: Option<String>, links: String) -> Self {
        let has_more = next_cursor.is_some();
        Self { content: Ok(Content { data, next_cursor, has_more }), links }
    }

    pub(super) const fn failed(problem: Problem) -> Self {
        Self { content: Err(problem), links: String::new() }
    }

    /// The items.
    pub fn items(&self) -> &[T] {
        self.content.as_ref().map_or(&[], |content| &content.data)
    }

    /// Whether there is a next page.
    pub fn has_more(&self) -> bool {
        self.content.as_ref().is_ok_and(|content| content.has_more)
    }

    /// The cursor of the next page, where there is one.
    pub fn next_cursor(&self) -> Option<&str> {
        self.content.as_ref().ok().and_then(|content| content.next_cursor.as_deref())
    }

    /// The same page of other items, such as the public view of rows.
    #[must_use]
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U> {
        let content = self.content.map(|content| Content {
            data: content.data.into_iter().map(item).collect(),
            next_cursor: content.next_cursor,
            has_more: content.has_more,
        });
        Page { content, links: self.links }
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.content {
            Err(problem) => problem.into_response(),
            Ok(content) => {
                let mut response = Json(content).into_response();
                if let Ok(links) = HeaderValue::try_from(self.links) {
                    response.headers_mut().insert(LINK, links);
                }
                response
            }
        }
    }
}

/// The links to the first and, where there is one, the next page; other parameters are kept.
pub(super) fn links(path: &str, filters: &[(String, String)], next: Option<&str>, limit: u32) -> String {
    let target = |cursor: Option<&str>| {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(filters).append_pair("limit", &limit.to_string());
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        format!("<{path}?{}>", query.finish())
    };
    let first = format!("{}; rel=\"first\"", target(None));
    match next {
        Some(next) => format!("{first}, {}; rel=\"next\"", target(Some(next))),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d06_links_keep_the_other_parameters() {
        let filters = [(String::from("account"), String::from("a&b"))];
        assert_eq!(
            links("/v1/payments", &filters, Some("abc"), 7),
            "</v1/payments?account=a%26b&limit=7>; rel=\"first\", \
             </v1/payments?account=a%26b&limit=7&cursor=abc>; rel=\"next\""
        );
    }
}
