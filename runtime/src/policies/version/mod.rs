//! Versions: an endpoint is served under `/v{n}` for each of its versions.
//!
//! `version = 1` serves one version and `version = 1..=3` serves three. `version = 1..` serves all
//! versions from 1 up to the newest version that any endpoint of the API names. Other versions are
//! a 404. An endpoint serves at most 100 versions. [`deprecation`](super::deprecation) describes
//! how a version ends.
//!
//! ```
//! use aplomb::policies::version::VersionSpec;
//!
//! let versions = VersionSpec::new(2, None);
//! assert_eq!(versions.served(4).collect::<Vec<_>>(), [2, 3, 4]);
//! ```

mod decide;
mod spec;

pub(crate) use decide::{MAX_VERSIONS, Route, last_if_too_many, newest, routes};
pub use spec::VersionSpec;
