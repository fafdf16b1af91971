use std::borrow::Cow;

use serde::Serialize;

/// One mistake in the request's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldError {
    /// Where the mistake is.
    #[serde(flatten)]
    pub location: Location,
    /// A stable code, `[A-Z][A-Z0-9_]+`.
    pub code: Cow<'static, str>,
    /// What is wrong, for a person.
    pub detail: Cow<'static, str>,
}

/// Where in a request a mistake is.
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
    /// A mistake at `location`.
    pub fn new(
        location: Location,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            location,
            code: code.into(),
            detail: shortened(detail.into()),
        }
    }
}

/// A message may quote what a client sent, which may be long.
pub(super) fn shortened(text: Cow<'static, str>) -> Cow<'static, str> {
    match text.char_indices().nth(MAX_DETAIL) {
        None => text,
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// The longest detail, in characters.
const MAX_DETAIL: usize = 300;
