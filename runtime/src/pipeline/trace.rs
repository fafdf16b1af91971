//! The tracing span of a request.

use tracing::span::Entered;
use tracing::{Level, Span};

use super::mount::MountedEndpoint;
use crate::request::RequestId;

/// The span of all log lines of a request, including the log lines of the handler. `None` if no
/// subscriber records it.
pub(crate) struct Trace(Option<Box<Span>>);

impl Trace {
    /// Returns the span of a request. It has the level ERROR, so that a subscriber which records
    /// only errors still gets the request id.
    #[inline]
    pub(crate) fn of(endpoint: &MountedEndpoint, id: &RequestId) -> Self {
        // This is checked before the span is created: with tracing's feature `log`, which a
        // dependency may enable, `error_span!` creates a span even without a subscriber.
        if tracing::span_enabled!(target: "aplomb::request", Level::ERROR, request_id, endpoint, method, route)
        {
            Self::create_span(endpoint, id)
        } else {
            Self(None)
        }
    }

    #[cold]
    fn create_span(endpoint: &MountedEndpoint, id: &RequestId) -> Self {
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

    /// Returns `true` if a subscriber records the span.
    #[inline]
    pub(crate) const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Enters the span until the returned guard is dropped. This method returns a guard
    /// instead of running a closure, because a closure's result would be copied one more time.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_ref().map(|span| span.enter())
    }
}
