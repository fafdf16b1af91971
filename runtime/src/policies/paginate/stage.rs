use std::sync::Arc;

use super::cursor::Cursors;
use super::spec::{PageLimits, PaginationPolicy};
use crate::request::{IncomingRequest, RequestState, Stage, StageResult};

/// The pagination of one mounted endpoint. The stage only puts the settings into the request, where
/// the extractors of a page find them.
#[derive(Debug)]
pub(crate) struct PageStage(Arc<EndpointPages>);

/// The settings of an endpoint that the extractors of a page use.
#[derive(Debug)]
pub(super) struct EndpointPages {
    pub(super) cursors: Cursors,
    /// The route's template, with its version.
    pub(super) route: String,
    pub(super) limits: PageLimits,
}

impl PageStage {
    /// Returns the stage of an endpoint that declares `paginate`, or `None` for any other endpoint.
    pub(crate) fn new(policy: PaginationPolicy, route: &str, cursors: &Cursors) -> Option<Self> {
        let (PaginationPolicy::Cursor(limits) | PaginationPolicy::Offset(limits)) = policy else {
            return None;
        };
        let pages = EndpointPages {
            cursors: cursors.clone(),
            route: route.to_owned(),
            limits,
        };
        Some(Self(Arc::new(pages)))
    }
}

impl Stage for PageStage {
    fn enter<'a>(
        &'a self,
        _: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        request.insert(Arc::clone(&self.0));
        StageResult::PASS
    }
}
