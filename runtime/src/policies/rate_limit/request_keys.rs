//! The costs and verified keys that are read from a request before its limits are checked.

use axum::extract::{FromRequestParts, RawPathParams};
use futures_util::FutureExt;
use http::request::Parts;

use super::cost::Cost;
use super::quota::Quota;
use super::spec::LimitBy;
use crate::request::Caller;

/// The costs and keys of a request, one entry per limit of the endpoint. Empty if no limit needs
/// data from the request.
#[derive(Debug, Default)]
pub(crate) struct RequestKeys(Vec<ResolvedKey>);

/// The cost and the key of a request under one limit.
#[derive(Debug)]
pub(super) struct ResolvedKey {
    /// The tokens that the request takes.
    pub(super) cost: u64,
    /// The verified key, if the limit counts by a key.
    pub(super) key: Option<String>,
}

/// A reader of the costs and keys of one request.
#[derive(Debug)]
pub(super) struct KeyResolver<'a> {
    head: &'a Parts,
    /// Set if a limit counts by a path parameter.
    parameters: Option<RawPathParams>,
    caller: Option<&'a Caller>,
}

impl RequestKeys {
    /// Returns the entry of the limit with this index, or `None` if no limit needs data from the
    /// request.
    pub(super) fn get(&self, index: usize) -> Option<&ResolvedKey> {
        self.0.get(index)
    }
}

impl FromIterator<ResolvedKey> for RequestKeys {
    fn from_iter<I: IntoIterator<Item = ResolvedKey>>(resolved: I) -> Self {
        Self(resolved.into_iter().collect())
    }
}

impl<'a> KeyResolver<'a> {
    pub(super) fn new(
        head: &'a mut Parts,
        reads_parameters: bool,
        caller: Option<&'a Caller>,
    ) -> Self {
        let parameters = if reads_parameters {
            path_parameters(head)
        } else {
            None
        };
        Self {
            head,
            parameters,
            caller,
        }
    }

    pub(super) fn resolve(&self, cost: Cost, quota: Quota, by: LimitBy) -> ResolvedKey {
        ResolvedKey {
            cost: cost.tokens(self.head, quota.burst()),
            key: self.verified_key(by),
        }
    }

    fn verified_key(&self, by: LimitBy) -> Option<String> {
        match by {
            LimitBy::Header(name, kind) => kind.verify(self.header(name)?, self.caller),
            LimitBy::Param(name, kind) => kind.verify(self.parameter(name)?, self.caller),
            LimitBy::Caller | LimitBy::Ip | LimitBy::Route => None,
        }
    }

    /// Returns the value of a header. A header that occurs twice has no value, because the handler
    /// could read the other value.
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        value.to_str().ok()
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.parameters.as_ref()?;
        parameters
            .iter()
            .find_map(|(other, value)| (other == name).then_some(value))
    }
}

/// Returns the path parameters, which the router has already put into the head. The future is ready
/// immediately.
fn path_parameters(head: &mut Parts) -> Option<RawPathParams> {
    RawPathParams::from_request_parts(head, &())
        .now_or_never()?
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::rate_limit::{LimitKey, LimitKeyType};

    /// A key that has only one valid value.
    struct Acme;

    impl LimitKey for Acme {
        fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
            value
                .eq_ignore_ascii_case("acme")
                .then(|| String::from("acme"))
        }
    }

    fn key(values: &[&str]) -> Option<String> {
        let mut request = http::Request::new(());
        for value in values {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).expect("a field");
            request.headers_mut().append("x-tenant", value);
        }
        let mut head = request.into_parts().0;
        KeyResolver::new(&mut head, false, None)
            .verified_key(LimitBy::Header("x-tenant", LimitKeyType::of::<Acme>()))
    }

    #[test]
    fn b09_only_a_single_verified_header_is_a_key() {
        assert_eq!(key(&["ACME"]).as_deref(), Some("acme"));
        for values in [&[][..], &["globex"], &["acme", "acme"], &["acm\u{e9}"]] {
            assert_eq!(key(values), None, "{values:?}");
        }
    }

    #[test]
    fn b09_a_request_without_path_parameters_has_no_key() {
        let mut head = http::Request::new(()).into_parts().0;
        let resolver = KeyResolver::new(&mut head, true, None);
        assert_eq!(
            resolver.verified_key(LimitBy::Param("tenant", LimitKeyType::of::<Acme>())),
            None
        );
    }

    #[test]
    fn limit_key_types_are_equal_only_for_the_same_type() {
        struct Other;
        impl LimitKey for Other {
            fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
                Acme::verify(value, caller)
            }
        }
        assert_eq!(LimitKeyType::of::<Acme>(), LimitKeyType::of::<Acme>());
        assert_ne!(LimitKeyType::of::<Acme>(), LimitKeyType::of::<Other>());
        assert!(format!("{:?}", LimitKeyType::of::<Acme>()).ends_with("Acme"));
    }
}
