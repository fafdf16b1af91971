use core::time::Duration;

use crate::describe::{InBytes, InUnits, with_options};

/// What a repeated request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdempotencyPolicy {
    /// The method's own semantics; only for methods that are idempotent by definition.
    Undeclared,
    /// The declaration says why a repeat is harmless.
    NotIdempotent {
        /// The reason.
        reason: &'static str,
    },
    /// An idempotency key makes a repeat return the first answer.
    Idempotent(IdempotencySpec),
}

impl IdempotencyPolicy {
    /// How keys are treated, where the endpoint takes them.
    pub const fn spec(&self) -> Option<IdempotencySpec> {
        match self {
            Self::Idempotent(spec) => Some(*spec),
            Self::Undeclared | Self::NotIdempotent { .. } => None,
        }
    }

    /// Describes the policy, such as `idempotent(ttl=24h)`.
    pub(crate) fn describe(&self) -> Option<String> {
        match self {
            Self::Undeclared => None,
            Self::NotIdempotent { .. } => Some(String::from("not_idempotent")),
            Self::Idempotent(spec) => Some(spec.describe()),
        }
    }
}

/// `idempotent(…)`: how keys are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencySpec {
    /// How long an answer is kept from its completion.
    pub ttl: Duration,
    /// The largest body of an answer that is kept, in bytes.
    pub max_stored_body: u64,
    /// A request without a key passes through.
    pub optional: bool,
    /// Callers without identity may use keys.
    pub anonymous: bool,
    /// What happens to a record whose process died.
    pub on_crash: OnCrash,
    /// Names of fields, in lower case, that a retry must repeat.
    pub headers: &'static [&'static str],
}

/// What a retry meets when the process that ran the first attempt died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnCrash {
    /// The outcome is unknown: the retry is told so.
    Unknown,
    /// The handler runs again.
    Rerun,
}

impl IdempotencySpec {
    /// The largest body that is kept where none is declared: 1 MiB.
    pub const DEFAULT_MAX_STORED_BODY: u64 = 1 << 20;

    /// The largest body that can be kept: 16 MiB. A store writes each at once, and memory holds them all.
    pub const MAX_STORED_BODY: u64 = 16 << 20;

    /// The longest `ttl` that an attribute can declare: 365 days.
    pub const MAX_TTL: Duration = Duration::from_hours(365 * 24);

    /// Keys are required, from authenticated callers, and answers with bodies of up to 1 MiB are kept
    /// for 24 hours.
    pub const fn new() -> Self {
        Self {
            ttl: Duration::from_hours(24),
            max_stored_body: Self::DEFAULT_MAX_STORED_BODY,
            optional: false,
            anonymous: false,
            on_crash: OnCrash::Unknown,
            headers: &[],
        }
    }

    /// Keeps answers for `ttl` from their completion.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Keeps bodies of up to so many bytes, and of up to [`MAX_STORED_BODY`](Self::MAX_STORED_BODY) where more is
    /// asked for. With 0 no body is kept.
    ///
    /// A longer body goes to the first caller only. A replay of a success is then a 303 to the
    /// `Location` of the first answer, else a 410 `IDEMPOTENCY_RESPONSE_NOT_RETAINED`; that of any
    /// other answer has its status, and says that its body was not kept.
    ///
    /// ```
    /// use aplomb::policies::idempotency::IdempotencySpec;
    ///
    /// // `idempotent(max_stored_body = "256KiB")`
    /// let spec = IdempotencySpec::new().with_max_stored_body(256 << 10);
    /// assert_eq!(spec.max_stored_body, 262_144);
    /// ```
    #[must_use]
    pub const fn with_max_stored_body(mut self, bytes: u64) -> Self {
        self.max_stored_body = if bytes > Self::MAX_STORED_BODY {
            Self::MAX_STORED_BODY
        } else {
            bytes
        };
        self
    }

    /// Lets requests without a key through.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Lets callers without identity use keys.
    #[must_use]
    pub const fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Compares these fields, too: a request under the same key with another value is another
    /// request. Names are in lower case.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'static [&'static str]) -> Self {
        self.headers = headers;
        self
    }

    /// Runs the handler again when the process of the first attempt died.
    #[must_use]
    pub const fn rerun_on_crash(mut self) -> Self {
        self.on_crash = OnCrash::Rerun;
        self
    }
}

impl IdempotencySpec {
    /// The time to live, and every option that is not the default.
    fn describe(&self) -> String {
        let default = Self::new();
        let mut options = vec![format!("ttl={}", InUnits(self.ttl))];
        if self.max_stored_body != default.max_stored_body {
            options.push(format!("max_stored_body={}", InBytes(self.max_stored_body)));
        }
        let flags = [(self.optional, "optional"), (self.anonymous, "anonymous")];
        options.extend(
            flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, flag)| (*flag).to_owned()),
        );
        if self.on_crash == OnCrash::Rerun {
            options.push(String::from("on_crash=rerun"));
        }
        if !self.headers.is_empty() {
            options.push(format!("headers({})", self.headers.join(", ")));
        }
        with_options("idempotent", &options)
    }
}

impl Default for IdempotencySpec {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_shows_the_time_to_live_and_what_is_not_the_default() {
        let describe = |spec| IdempotencyPolicy::Idempotent(spec).describe();
        assert_eq!(
            describe(IdempotencySpec::new()).as_deref(),
            Some("idempotent(ttl=24h)")
        );
        let all = IdempotencySpec::new()
            .with_ttl(Duration::from_hours(24 * 7))
            .with_max_stored_body(256 << 10)
            .optional()
            .anonymous()
            .rerun_on_crash()
            .with_headers(&["x-region", "x-tenant"]);
        let said = "idempotent(ttl=7d, max_stored_body=256KiB, optional, anonymous, on_crash=rerun, headers(x-region, x-tenant))";
        assert_eq!(describe(all).as_deref(), Some(said));
        let reason = IdempotencyPolicy::NotIdempotent {
            reason: "it only reads",
        };
        assert_eq!(reason.describe().as_deref(), Some("not_idempotent"));
        assert_eq!(IdempotencyPolicy::Undeclared.describe(), None);
    }
}
