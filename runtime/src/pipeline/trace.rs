//! The span in which a request logs.

use tracing::span::Entered;
use tracing::{Level, Span};

use super::mount::MountedEndpoint;
use crate::request::RequestId;

/// The span in which all stands that a request logs, the handler's own lines included. There only where
/// somebody listens.
pub(crate) struct Trace(Option<Box<Span>>);

impl Trace {
    /// As loud as can be: who listens to errors alone wants to know whose they are.
    #[inline]
    pub(crate) fn of(endpoint: &MountedEndpoint, id: &RequestId) -> Self {
        // Asked first, because a span that nobody wants is made all the same where a dependency has tracing write
        // to `log`.
        if tracing::span_enabled!(target: "aplomb::request", Level::ERROR, request_id, endpoint, method, route)
        {
            Self::subscriber_enabled(endpoint, id)
        } else {
            Self(None)
        }
    }

    #[cold]
    fn subscriber_enabled(endpoint: &MountedEndpoint, id: &RequestId) -> Self {
        let span = tracing::error_span!(
            target: "aplomb::request",
            "request",
            request_id = id.as_str(),
            endpoint = endpoint.mount.spec.name,
            method = endpoint.mount.spec.method.as_str(),
            route = endpoint.mount.route,
        );
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    /// Whether somebody listens.
    #[inline]
    pub(crate) const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Enters the span for a step of the request. A guard, because a closure would return what it makes
    /// by one more copy.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_ref().map(|span| span.enter())
    }
}
