//! Extractors whose rejections are problem documents.
//!
//! You can also use axum's own extractors, because the pipeline converts their rejections. The
//! extractors of this module also name the invalid parameter or the invalid member of the body.

mod json;
mod normal_path;
mod outer;
mod path;
pub(crate) mod path_shape;
mod pointer;
pub(crate) mod query;
mod rejections;
#[cfg(feature = "garde")]
mod valid;
#[cfg(feature = "garde")]
mod violation;
#[cfg(not(feature = "garde"))]
mod without_garde;

pub use json::Json;
pub(crate) use normal_path::normalize_path;
pub(crate) use outer::{outer, outer_path, reference};
pub use path::Path;
pub use query::Query;
pub(crate) use query::check_utf8;
#[cfg(feature = "garde")]
pub use valid::{Valid, ValidationContext};
#[cfg(not(feature = "garde"))]
#[doc(hidden)]
pub use without_garde::Valid;

/// Returns the URI as the client sent it. If the API is nested in a router, the router has removed
/// the prefix from the request's URI.
pub(crate) fn original_uri(head: &http::request::Parts) -> &http::Uri {
    head.extensions
        .get::<axum::extract::OriginalUri>()
        .map_or(&head.uri, |axum::extract::OriginalUri(uri)| uri)
}

macro_rules! transparent {
    ($name:ident) => {
        impl<T> core::ops::Deref for $name<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T> core::ops::DerefMut for $name<T> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }

        impl<T> From<T> for $name<T> {
            fn from(inner: T) -> Self {
                Self(inner)
            }
        }
    };
}

pub(crate) use transparent;
