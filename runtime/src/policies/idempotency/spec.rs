use core::time::Duration;

use crate::describe::{ByteSize, InUnits, with_options};

/// The way an endpoint handles a repeated request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdempotencyPolicy {
    /// No declaration, for methods that are idempotent by definition (RFC 9110 §9.2.2).
    Undeclared,
    /// No keys, because a repeat is harmless (`not_idempotent = "reason"`).
    NotIdempotent {
        /// The declared reason why a repeat is harmless.
        reason: &'static str,
    },
    /// A repeat with the same idempotency key gets the first response.
    Idempotent(IdempotencySpec),
}

impl IdempotencyPolicy {
    /// Returns the settings for keys; `None` if the endpoint takes no keys.
    pub const fn spec(&self) -> Option<IdempotencySpec> {
        match self {
            Self::Idempotent(spec) => Some(*spec),
            Self::Undeclared | Self::NotIdempotent { .. } => None,
        }
    }

    /// Describes the policy as `idempotent(ttl=24h)`; `None` if nothing is declared.
    pub(crate) fn describe(&self) -> Option<String> {
        match self {
            Self::Undeclared => None,
            Self::NotIdempotent { .. } => Some(String::from("not_idempotent")),
            Self::Idempotent(spec) => Some(spec.describe()),
        }
    }
}

/// The settings of `idempotent(…)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencySpec {
    /// The time for which a response is stored, counted from the end of the run.
    pub ttl: Duration,
    /// The largest response body that is stored, in bytes.
    pub max_stored_body: u64,
    /// Allows requests without a key, which run without a record.
    pub optional: bool,
    /// Allows keys on requests without a caller.
    pub anonymous: bool,
    /// The response to a retry after the process of the first run has died; `None` if it is not
    /// declared. The default is a second run for a handler that takes a `Tx`, and otherwise an error.
    pub on_crash: Option<OnCrash>,
    /// The names of header fields that a retry must repeat, in lower case.
    pub headers: &'static [&'static str],
}

/// The response to a retry after the process of the first run has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnCrash {
    /// The retry gets 500 `IDEMPOTENCY_OUTCOME_UNKNOWN`.
    Unknown,
    /// The retry runs the handler again.
    Rerun,
}

impl IdempotencySpec {
    /// The default of [`max_stored_body`](Self::max_stored_body): 1 MiB.
    pub const DEFAULT_MAX_STORED_BODY: u64 = 1 << 20;

    /// The largest accepted [`max_stored_body`](Self::max_stored_body): 16 MiB. A store writes each
    /// body in one piece, and an in-memory store contains all bodies.
    pub const MAX_STORED_BODY: u64 = 16 << 20;

    /// The longest `ttl` that an attribute can declare: 365 days.
    pub const MAX_TTL: Duration = Duration::from_hours(365 * 24);

    /// Creates the default settings: keys are required and need a caller, and responses with bodies
    /// of up to 1 MiB are stored for 24 hours.
    pub const fn new() -> Self {
        Self {
            ttl: Duration::from_hours(24),
            max_stored_body: Self::DEFAULT_MAX_STORED_BODY,
            optional: false,
            anonymous: false,
            on_crash: None,
            headers: &[],
        }
    }

    /// Stores responses for `ttl`, counted from the end of the run.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Stores response bodies of up to `bytes` bytes; with 0 it stores no bodies. Values above
    /// [`MAX_STORED_BODY`](Self::MAX_STORED_BODY) are lowered to it.
    ///
    /// A longer body is sent only in the first response. The replay of a 2xx is then a 303 to the
    /// `Location` of the first response, or a 410 `IDEMPOTENCY_RESPONSE_NOT_RETAINED` if there is
    /// no `Location`. The replay of any other response has the same status without the body.
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

    /// Allows requests without a key, which run without a record.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Allows keys on requests without a caller.
    #[must_use]
    pub const fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Compares these header fields as well: a request with the same key and another value gets
    /// 422 `IDEMPOTENCY_KEY_REUSED`. Names are in lower case.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'static [&'static str]) -> Self {
        self.headers = headers;
        self
    }

    /// Lets a retry run the handler again after the process of the first run died.
    #[must_use]
    pub const fn rerun_on_crash(mut self) -> Self {
        self.on_crash = Some(OnCrash::Rerun);
        self
    }

    /// Answers a retry with an error after the process of the first run died, also if the handler
    /// takes a `Tx`.
    #[must_use]
    pub const fn unknown_on_crash(mut self) -> Self {
        self.on_crash = Some(OnCrash::Unknown);
        self
    }
}

impl IdempotencySpec {
    /// Describes the time to live and every option that differs from the default.
    fn describe(&self) -> String {
        let default = Self::new();
        let mut options = vec![format!("ttl={}", InUnits(self.ttl))];
        if self.max_stored_body != default.max_stored_body {
            options.push(format!(
                "max_stored_body={}",
                ByteSize(self.max_stored_body)
            ));
        }
        let flags = [(self.optional, "optional"), (self.anonymous, "anonymous")];
        options.extend(
            flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, flag)| (*flag).to_owned()),
        );
        options.extend(self.on_crash.map(|on_crash| {
            let on_crash = match on_crash {
                OnCrash::Rerun => "rerun",
                OnCrash::Unknown => "unknown",
            };
            format!("on_crash={on_crash}")
        }));
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
    fn a_description_shows_the_ttl_and_every_option_that_differs_from_the_default() {
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
        let expected = "idempotent(ttl=7d, max_stored_body=256KiB, optional, anonymous, on_crash=rerun, headers(x-region, x-tenant))";
        assert_eq!(describe(all).as_deref(), Some(expected));
        let reason = IdempotencyPolicy::NotIdempotent {
            reason: "it only reads",
        };
        assert_eq!(reason.describe().as_deref(), Some("not_idempotent"));
        assert_eq!(IdempotencyPolicy::Undeclared.describe(), None);
    }
}
