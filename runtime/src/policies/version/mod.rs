//! Versions: an endpoint stands under `/v{n}` for each version that it serves.
//!
//! `version = 1` serves one, `version = 1..=3` several, `version = 1..` all from one on that the
//! API knows: up to the newest that any of its endpoints names. A version that an endpoint does
//! not serve is a 404. An endpoint serves 100 versions at most. How a version ends is told in [`deprecation`](super::deprecation).
//!
//! ```
//! use aplomb::policies::version::VersionSpec;
//!
//! let versions = VersionSpec::new(2, None);
//! assert_eq!(versions.served(4).collect::<Vec<_>>(), [2, 3, 4]);
//! ```

mod decide;
mod spec;

pub(crate) use decide::{MOST, Route, newest, routes, too_many};
pub use spec::VersionSpec;
