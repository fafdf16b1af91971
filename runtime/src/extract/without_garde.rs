//! `Valid` without the feature `garde`. An endpoint that uses it gets an error that names the
//! feature.

/// Needs the feature `garde`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Valid<E>(pub E);
