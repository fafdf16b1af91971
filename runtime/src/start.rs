//! The errors that keep a service from starting, which are reported together.

use core::fmt;
use std::error::Error;

/// One error that keeps a service from starting, in one line.
///
/// If `main` returns an error, Rust prints the error with `Debug`. `Debug` therefore prints the
/// same text as `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct StartError(String);

impl StartError {
    /// Creates an error. The message is one line that says what is wrong and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Creates the error for an environment variable with an invalid value.
    ///
    /// ```
    /// # use aplomb::StartError;
    /// let error = StartError::variable("APLOMB_STORE", "redsi:", "accepted: memory:");
    /// assert_eq!(error.to_string(), r#"APLOMB_STORE="redsi:": accepted: memory:"#);
    /// ```
    pub fn variable(name: &str, value: &str, accepted: impl fmt::Display) -> Self {
        Self(format!("{name}={value:?}: {accepted}"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for StartError {}

/// All errors that keep a service from starting. `Display` and `Debug` print one line per error.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct StartErrors(Vec<StartError>);

impl StartErrors {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an error.
    pub fn push(&mut self, error: StartError) {
        self.0.push(error);
    }

    /// Adds an error of any type. The errors of a `StartErrors` are added one by one; any other
    /// error becomes one line together with its sources.
    pub fn extend_from(&mut self, error: Box<dyn Error + Send + Sync>) {
        match error.downcast::<Self>() {
            Ok(several) => self.0.extend(several.0),
            Err(error) => self.push(StartError::new(one_line(error.as_ref()))),
        }
    }

    /// Returns `true` if there are no errors.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the errors.
    pub fn iter(&self) -> impl Iterator<Item = &StartError> {
        self.0.iter()
    }

    /// Returns `Ok` if there are no errors.
    ///
    /// # Errors
    ///
    /// Returns the errors, if there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Adds the errors of a result and returns its value.
    pub(crate) fn collect<T>(&mut self, result: Result<T, impl Into<Self>>) -> Option<T> {
        result.map_err(|errors| self.extend(errors.into().0)).ok()
    }
}

impl From<StartError> for StartErrors {
    fn from(error: StartError) -> Self {
        Self(vec![error])
    }
}

impl Extend<StartError> for StartErrors {
    fn extend<I: IntoIterator<Item = StartError>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

impl fmt::Display for StartErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for StartErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for StartErrors {}

/// Joins the messages of an error and its sources. The message of a source is left out if the text
/// already contains it.
fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_errors_are_added_one_by_one() {
        let mut inner = StartErrors::from(StartError::new("a"));
        inner.push(StartError::new("b"));
        let mut outer = StartErrors::new();
        outer.extend_from(Box::new(inner));
        outer.extend_from("c".into());
        assert_eq!(outer.to_string(), "a\nb\nc");
        assert_eq!(format!("{outer:?}"), "a\nb\nc", "as `main` prints it");
    }
}
