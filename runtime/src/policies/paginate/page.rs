use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::LINK;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::extract::Json;
use crate::problem::Problem;

/// One page of a list, made by [`PageRequest::page`](super::PageRequest::page),
/// [`Bidirectional::page`](super::Bidirectional::page) or [`OffsetRequest::page`](super::OffsetRequest::page).
#[derive(Debug)]
pub struct Page<T> {
    content: Result<Content<T>, Problem>,
    links: String,
}

/// A page's body.
#[derive(Debug)]
struct Content<T> {
    data: Vec<T>,
    place: PageLinks,
    has_more: bool,
}

/// What a page says of where it stands.
#[derive(Debug)]
pub(super) enum PageLinks {
    /// In a list that is read forward only.
    Forward { next_cursor: Option<String> },
    /// In a list that is read both ways.
    Bidirectional {
        next_cursor: Option<String>,
        prev_cursor: Option<String>,
    },
    /// In a list whose pages are counted.
    Counted { page: u32, total: Option<u64> },
}

impl<T> Page<T> {
    pub(super) const fn new(data: Vec<T>, place: PageLinks, has_more: bool, links: String) -> Self {
        Self {
            content: Ok(Content {
                data,
                place,
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
        match &self.content.as_ref().ok()?.place {
            PageLinks::Forward { next_cursor } | PageLinks::Bidirectional { next_cursor, .. } => {
                next_cursor.as_deref()
            }
            PageLinks::Counted { .. } => None,
        }
    }

    /// The cursor of the page before, where there is one.
    pub fn prev_cursor(&self) -> Option<&str> {
        match &self.content.as_ref().ok()?.place {
            PageLinks::Bidirectional { prev_cursor, .. } => prev_cursor.as_deref(),
            PageLinks::Forward { .. } | PageLinks::Counted { .. } => None,
        }
    }

    /// How many items the whole list has, where the client asked and the handler counted.
    pub fn total(&self) -> Option<u64> {
        match self.content.as_ref().ok()?.place {
            PageLinks::Counted { total, .. } => total,
            PageLinks::Forward { .. } | PageLinks::Bidirectional { .. } => None,
        }
    }

    /// The same page of other items, such as the public view of rows.
    #[must_use]
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U> {
        let content = self.content.map(
            |Content {
                 data,
                 place,
                 has_more,
             }| Content {
                data: data.into_iter().map(item).collect(),
                place,
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
        match &self.place {
            PageLinks::Forward { next_cursor } => {
                map.serialize_entry("next_cursor", next_cursor)?;
            }
            PageLinks::Bidirectional {
                next_cursor,
                prev_cursor,
            } => {
                map.serialize_entry("next_cursor", next_cursor)?;
                map.serialize_entry("prev_cursor", prev_cursor)?;
            }
            PageLinks::Counted { page, total } => {
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
                // Items that cannot be written are no page.
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
