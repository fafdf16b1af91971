use core::time::Duration;

use super::category::Category;

/// A kind of problem: constant data, one a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemSpec {
    /// The stable code, `[A-Z][A-Z0-9_]+`.
    pub code: &'static str,
    /// What kind of mistake it is.
    pub category: Category,
    /// The response's status.
    pub status: u16,
    /// A constant short summary.
    pub title: &'static str,
    /// What a 5xx says beyond its title, where its category's usual sentence would mislead.
    pub detail: Option<&'static str>,
    /// Whether the same request may succeed later; `None` where that depends on whether the
    /// request is idempotent. A 4xx that is kept under an idempotency key is never retryable, since a
    /// retry gets it again.
    pub retryable: Option<bool>,
    /// How long the client should wait.
    pub retry_after: Option<Duration>,
    /// Whether the handler is known to have changed nothing.
    pub effects: Effects,
}

/// What a failed handler left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effects {
    /// Cannot be told.
    Unknown,
    /// Nothing: the request can be sent again and its idempotency key is free.
    None,
}

impl ProblemSpec {
    /// A kind of problem with the category's usual status.
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

    /// Takes another status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Takes any status, and becomes of its category.
    pub(crate) const fn with_status_of_any_category(self, status: u16) -> Self {
        let category = Category::of_status(status);
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
        let other = Self {
            detail,
            retry_after,
            ..Self::new(category, code, title)
        };
        other.with_status(status).with_effects(effects)
    }

    /// Takes what is known of the handler's effects.
    pub(crate) const fn with_effects(self, effects: Effects) -> Self {
        match effects {
            Effects::Unknown => self,
            Effects::None => self.without_effects(),
        }
    }

    /// Says what a 5xx tells beyond its title.
    #[must_use]
    pub const fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Says whether the same request may succeed later. For a 4xx under an idempotency key it takes
    /// [`without_effects`](Self::without_effects), too: else the answer is kept, and a client is told
    /// that it is not retryable.
    #[must_use]
    pub const fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = Some(retryable);
        self
    }

    /// Says how long to wait. Sent only where the problem is retryable.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says that nothing was changed. A `dependency` problem is then retryable.
    #[must_use]
    pub const fn without_effects(mut self) -> Self {
        self.effects = Effects::None;
        if matches!(self.category, Category::Dependency) {
            self.retryable = Some(true);
        }
        self
    }
}
