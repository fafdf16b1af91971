use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::LINK;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::extract::Json;
use crate::problem::Problem;

/// One page of a list, made by [`PageRequest::page`](super::PageRequest::page),
/// [`Bidirectional::page`](super::Bidirectional::page) or
/// [`OffsetRequest::page`](super::OffsetRequest::page).
#[derive(Debug)]
pub struct Page<T> {
    content: Result<Content<T>, Problem>,
    links: String,
}

/// The body of a page.
#[derive(Debug)]
struct Content<T> {
    data: Vec<T>,
    navigation: PageNavigation,
    has_more: bool,
}

/// The members of a page that show its position in the list.
#[derive(Debug)]
pub(super) enum PageNavigation {
    /// The page of a list that is read forward only.
    Forward { next_cursor: Option<String> },
    /// The page of a list that is read in both directions.
    Bidirectional {
        next_cursor: Option<String>,
        prev_cursor: Option<String>,
    },
    /// A numbered page.
    Numbered { page: u32, total: Option<u64> },
}

impl<T> Page<T> {
    pub(super) const fn new(
        data: Vec<T>,
        navigation: PageNavigation,
        has_more: bool,
        links: String,
    ) -> Self {
        Self {
            content: Ok(Content {
                data,
                navigation,
                has_more,
            }),
            links,
        }
    }

    pub(super) const fn failed(problem: Problem) -> Self {
        Self {
            content: Err(problem),
            links: String::new(),
        }
    }

    /// Returns the items.
    pub fn items(&self) -> &[T] {
        self.content.as_ref().map_or(&[], |content| &content.data)
    }

    /// Returns `true` if there is a next page.
    pub fn has_more(&self) -> bool {
        self.content.as_ref().is_ok_and(|content| content.has_more)
    }

    /// Returns the cursor of the next page, if there is one.
    pub fn next_cursor(&self) -> Option<&str> {
        match &self.content.as_ref().ok()?.navigation {
            PageNavigation::Forward { next_cursor }
            | PageNavigation::Bidirectional { next_cursor, .. } => next_cursor.as_deref(),
            PageNavigation::Numbered { .. } => None,
        }
    }

    /// Returns the cursor of the previous page, if there is one.
    pub fn prev_cursor(&self) -> Option<&str> {
        match &self.content.as_ref().ok()?.navigation {
            PageNavigation::Bidirectional { prev_cursor, .. } => prev_cursor.as_deref(),
            PageNavigation::Forward { .. } | PageNavigation::Numbered { .. } => None,
        }
    }

    /// Returns the number of items of the whole list, if the client asked for it and the handler
    /// counted them.
    pub fn total(&self) -> Option<u64> {
        match self.content.as_ref().ok()?.navigation {
            PageNavigation::Numbered { total, .. } => total,
            PageNavigation::Forward { .. } | PageNavigation::Bidirectional { .. } => None,
        }
    }

    /// Returns the same page with converted items, such as the public form of rows.
    #[must_use]
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U> {
        let content = self.content.map(
            |Content {
                 data,
                 navigation,
                 has_more,
             }| Content {
                data: data.into_iter().map(item).collect(),
                navigation,
                has_more,
            },
        );
        Page {
            content,
            links: self.links,
        }
    }
}

impl<T: Serialize> Serialize for Content<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("data", &self.data)?;
        match &self.navigation {
            PageNavigation::Forward { next_cursor } => {
                map.serialize_entry("next_cursor", next_cursor)?;
            }
            PageNavigation::Bidirectional {
                next_cursor,
                prev_cursor,
            } => {
                map.serialize_entry("next_cursor", next_cursor)?;
                map.serialize_entry("prev_cursor", prev_cursor)?;
            }
            PageNavigation::Numbered { page, total } => {
                map.serialize_entry("page", page)?;
                if let Some(total) = total {
                    map.serialize_entry("total", total)?;
                }
            }
        }
        map.serialize_entry("has_more", &self.has_more)?;
        map.end()
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.content {
            Err(problem) => problem.into_response(),
            Ok(content) => {
                let mut response = Json(content).into_response();
                // If the items cannot be serialized, the response is a 500 without links.
                if response.status().is_success()
                    && let Ok(links) = HeaderValue::try_from(self.links)
                {
                    response.headers_mut().insert(LINK, links);
                }
                response
            }
        }
    }
}
