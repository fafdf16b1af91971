use std::sync::{Arc, OnceLock};

use http::request::Parts;

use super::cursor::{Binding, CursorTooLong, Cursors};
use super::key::CursorKey;
use super::links::Links;
use super::position::{Neighbours, Position};
use super::stage::EndpointPages;
use crate::extract::{normalize_path, original_uri, reference};
use crate::problem::Problem;
use crate::request::Caller;
use crate::secret::Secret;

/// The list that a request reads: the data that all pages of the list have in common.
#[derive(Debug, Default)]
pub(super) struct List {
    pages: Option<Arc<EndpointPages>>,
    caller: Option<Caller>,
    path: String,
    filters: Vec<(String, String)>,
}

/// The cursors of the previous and the next page.
pub(super) struct NeighbourCursors {
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

impl List {
    pub(super) fn new(
        parts: &Parts,
        pages: Option<Arc<EndpointPages>>,
        filters: Vec<(String, String)>,
    ) -> Self {
        let caller = Caller::of(parts);
        // The path is percent-encoded as in the links of a page, so that a client that follows a
        // link gets the same binding.
        Self {
            pages,
            caller,
            path: reference(original_uri(parts).path()).into_owned(),
            filters,
        }
    }

    pub(super) fn read<K: CursorKey>(&self, cursor: &str) -> Result<Position<K>, Problem> {
        self.cursors().read(cursor, &self.binding())
    }

    pub(super) fn neighbour_cursors<K: CursorKey>(
        &self,
        neighbours: &Neighbours<K>,
    ) -> Result<NeighbourCursors, CursorTooLong> {
        let write =
            |position: &Position<K>| self.cursors().write(position.as_ref(), &self.binding());
        let previous = neighbours.previous.as_ref().map(write).transpose()?;
        Ok(NeighbourCursors {
            previous,
            next: neighbours.next.as_ref().map(write).transpose()?,
        })
    }

    pub(super) const fn links(&self) -> Links<'_> {
        Links::new(self.path.as_str(), self.filters.as_slice())
    }

    /// Returns the cursors of the API. Outside of an API, as in a unit test, cursors are signed
    /// with a random key of this process.
    fn cursors(&self) -> &Cursors {
        static OF_PROCESS: OnceLock<Cursors> = OnceLock::new();
        let of_process = || OF_PROCESS.get_or_init(|| Cursors::new(&Secret::random(), None, ""));
        self.pages
            .as_ref()
            .map_or_else(of_process, |pages| &pages.cursors)
    }

    fn binding(&self) -> Binding<'_> {
        let route = self.pages.as_ref().map_or("", |pages| &pages.route);
        Binding {
            route,
            path: normalize_path(&self.path),
            filters: &self.filters,
            caller: self.caller.as_ref(),
        }
    }
}
