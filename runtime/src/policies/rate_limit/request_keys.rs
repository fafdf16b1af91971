//! What limits look up in a request before they are asked.

use axum::extract::{FromRequestParts, RawPathParams};
use futures_util::FutureExt;
use http::request::Parts;

use super::cost::Cost;
use super::quota::Quota;
use super::spec::LimitBy;
use crate::request::Caller;

/// What the limits of an endpoint know of a request, in their order. Empty where none of them looks at it.
#[derive(Debug, Default)]
pub(crate) struct RequestKeys(Vec<ResolvedKey>);

/// What one limit knows.
#[derive(Debug)]
pub(super) struct ResolvedKey {
    /// Tokens that the request takes.
    pub(super) cost: u64,
    /// The verified key by which it counts.
    pub(super) key: Option<String>,
}

/// What they look at.
#[derive(Debug)]
pub(super) struct KeyResolver<'a> {
    head: &'a Parts,
    /// There where a limit counts by one of them.
    parameters: Option<RawPathParams>,
    caller: Option<&'a Caller>,
}

impl RequestKeys {
    /// What the limit in this place knows; nothing, if none had to look.
    pub(super) fn of(&self, place: usize) -> Option<&ResolvedKey> {
        self.0.get(place)
    }
}

impl FromIterator<ResolvedKey> for RequestKeys {
    fn from_iter<I: IntoIterator<Item = ResolvedKey>>(looked: I) -> Self {
        Self(looked.into_iter().collect())
    }
}

impl<'a> KeyResolver<'a> {
    pub(super) fn new(
        head: &'a mut Parts,
        by_parameters: bool,
        caller: Option<&'a Caller>,
    ) -> Self {
        let parameters = if by_parameters {
            parameters(head)
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
            cost: cost.of(self.head, quota.burst()),
            key: self.key(by),
        }
    }

    fn key(&self, by: LimitBy) -> Option<String> {
        match by {
            LimitBy::Header(name, kind) => kind.verify(self.header(name)?, self.caller),
            LimitBy::Param(name, kind) => kind.verify(self.parameter(name)?, self.caller),
            LimitBy::Caller | LimitBy::Ip | LimitBy::Route => None,
        }
    }

    /// A field that is given twice says nothing: what stands behind could read the other one.
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

/// The path's parameters, which the router has put into the head: nothing is waited for.
fn parameters(head: &mut Parts) -> Option<RawPathParams> {
    RawPathParams::from_request_parts(head, &())
        .now_or_never()?
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::rate_limit::{KeyKind, LimitKey};

    /// Vouches for its only value.
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
            .key(LimitBy::Header("x-tenant", KeyKind::of::<Acme>()))
    }

    #[test]
    fn b09_a_header_counts_once_it_is_verified() {
        assert_eq!(key(&["ACME"]).as_deref(), Some("acme"));
        for values in [&[][..], &["globex"], &["acme", "acme"], &["acm\u{e9}"]] {
            assert_eq!(key(values), None, "{values:?}");
        }
    }

    #[test]
    fn b09_without_a_router_there_is_no_parameter() {
        let mut head = http::Request::new(()).into_parts().0;
        let sight = KeyResolver::new(&mut head, true, None);
        assert_eq!(
            sight.key(LimitBy::Param("tenant", KeyKind::of::<Acme>())),
            None
        );
    }

    #[test]
    fn kinds_are_told_apart_by_their_types() {
        struct Other;
        impl LimitKey for Other {
            fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
                Acme::verify(value, caller)
            }
        }
        assert_eq!(KeyKind::of::<Acme>(), KeyKind::of::<Acme>());
        assert_ne!(KeyKind::of::<Acme>(), KeyKind::of::<Other>());
        assert!(format!("{:?}", KeyKind::of::<Acme>()).ends_with("Acme"));
    }
}
