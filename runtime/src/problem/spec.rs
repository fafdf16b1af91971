//! The constant data of one kind of problem.

use core::time::Duration;

use super::category::Category;

/// The constant data of one kind of problem. There is one kind for each code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemSpec {
    /// The stable code, `[A-Z][A-Z0-9_]+`.
    pub code: &'static str,
    /// The category of the error.
    pub category: Category,
    /// The response's status.
    pub status: u16,
    /// A short summary, the same for all problems of this kind.
    pub title: &'static str,
    /// The `detail` of a 5xx. With `None`, a 5xx has the default text of its category.
    pub detail: Option<&'static str>,
    /// `true` if the same request may succeed later; `None` if the problem is retryable only for
    /// idempotent requests. A 4xx that is stored under an idempotency key is never retryable,
    /// because a retry gets the same response.
    pub retryable: Option<bool>,
    /// The time that the client should wait, sent as `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The effects that the handler had before it failed.
    pub effects: Effects,
}

/// The effects of a handler that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effects {
    /// The handler may have changed something.
    Unknown,
    /// The handler changed nothing. The request may be sent again, with the same idempotency key.
    None,
}

impl ProblemSpec {
    /// Returns a kind of problem with the default status of its category.
    pub const fn new(category: Category, code: &'static str, title: &'static str) -> Self {
        let retryable = match category {
            Category::RateLimited => Some(true),
            Category::Dependency => None,
            _ => Some(false),
        };
        Self {
            code,
            category,
            status: category.default_status(),
            title,
            detail: None,
            retryable,
            retry_after: None,
            effects: Effects::Unknown,
        }
    }

    /// Sets the status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets the status and its category. If the category changes, `retryable` gets the default of
    /// the new category.
    pub(crate) const fn with_status_and_its_category(self, status: u16) -> Self {
        let category = Category::of_status(status);
        // `==` is not `const` for enums.
        if category as u8 == self.category as u8 {
            return self.with_status(status);
        }
        let Self {
            code,
            title,
            detail,
            retry_after,
            effects,
            ..
        } = self;
        let changed = Self {
            detail,
            retry_after,
            ..Self::new(category, code, title)
        };
        changed.with_status(status).with_effects(effects)
    }

    /// Sets the effects.
    pub(crate) const fn with_effects(self, effects: Effects) -> Self {
        match effects {
            Effects::Unknown => self,
            Effects::None => self.without_effects(),
        }
    }

    /// Sets the `detail` of a 5xx, which replaces the default text of its category.
    #[must_use]
    pub const fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Sets `retryable`: `true` if the same request may succeed later.
    ///
    /// A 4xx of an idempotent endpoint also needs [`without_effects`](Self::without_effects).
    /// Otherwise the response is stored under the idempotency key, and is not retryable.
    #[must_use]
    pub const fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = Some(retryable);
        self
    }

    /// Sets the time that the client should wait. `Retry-After` is sent only if the problem is
    /// retryable.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Declares that the handler changed nothing. A `dependency` problem is then retryable.
    #[must_use]
    pub const fn without_effects(mut self) -> Self {
        self.effects = Effects::None;
        if matches!(self.category, Category::Dependency) {
            self.retryable = Some(true);
        }
        self
    }
}
