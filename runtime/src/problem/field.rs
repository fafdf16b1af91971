//! Errors in a request's data: the members of `errors`.

use std::borrow::Cow;

use serde::Serialize;

/// One error in the request's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldError {
    /// The part of the request that is wrong.
    #[serde(flatten)]
    pub location: Location,
    /// A stable code, `[A-Z][A-Z0-9_]+`.
    pub code: Cow<'static, str>,
    /// An explanation for human readers.
    pub detail: Cow<'static, str>,
}

/// The part of a request to which an error belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Location {
    /// A JSON pointer into the body, as a URI fragment: `#/lines/0/amount` (RFC 6901 §6).
    Pointer(Cow<'static, str>),
    /// The name of a path or query parameter.
    Parameter(Cow<'static, str>),
    /// The name of a header field.
    Header(Cow<'static, str>),
}

impl FieldError {
    /// Returns an error at `location`. `detail` is cut after 300 characters.
    pub fn new(
        location: Location,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            location,
            code: code.into(),
            detail: truncated(detail.into()),
        }
    }
}

/// Cuts a text after [`MAX_DETAIL_CHARS`] characters, and adds an ellipsis.
pub(super) fn truncated(text: Cow<'static, str>) -> Cow<'static, str> {
    match text.char_indices().nth(MAX_DETAIL_CHARS) {
        None => text,
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// The maximum length of a detail, in characters. A detail may quote what the client sent, which
/// may be long. 300 characters leave room for a sentence and a quoted value.
const MAX_DETAIL_CHARS: usize = 300;
