//! Everything that is wrong before the first request, said at once.

use core::fmt;
use std::error::Error;

/// One thing that keeps a service from starting, in one line. Its `Debug` is its `Display`, as an error
/// that `main` returns is printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct StartError(String);

impl StartError {
    /// What is wrong, and what to do instead, in one line.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An environment variable whose value is not accepted.
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

/// All that keeps a service from starting. Its `Display` is one line each, and so is its `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct StartErrors(Vec<StartError>);

impl StartErrors {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn push(&mut self, error: StartError) {
        self.0.push(error);
    }

    /// Adds what another error says: all of it, where that is a `StartErrors` itself.
    pub fn extend_from(&mut self, error: Box<dyn Error + Send + Sync>) {
        match error.downcast::<Self>() {
            Ok(several) => self.0.extend(several.0),
            Err(error) => self.push(StartError::new(one_line(error.as_ref()))),
        }
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &StartError> {
        self.0.iter()
    }

    /// Fails if anything is wrong.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Keeps the errors of a result and gives its value.
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
    fn several_errors_stay_several() {
        let mut inner = StartErrors::from(StartError::new("a"));
        inner.push(StartError::new("b"));
        let mut outer = StartErrors::new();
        outer.extend_from(Box::new(inner));
        outer.extend_from("c".into());
        assert_eq!(outer.to_string(), "a\nb\nc");
        assert_eq!(format!("{outer:?}"), "a\nb\nc", "as `main` prints it");
    }
}
