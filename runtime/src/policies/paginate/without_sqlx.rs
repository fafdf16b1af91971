//! A substitute for `Keyset::push_onto` without the feature `sqlx`. A call does not compile, and
//! the error names the feature.

use super::keyset::Keyset;

/// A trait without implementations, so that every call is an error.
#[diagnostic::on_unimplemented(
    message = "`Keyset::push_onto` needs the feature `sqlx` of the crate `aplomb`",
    label = "the feature `sqlx` is off",
    note = "run `cargo add aplomb --features sqlx`, or use `Keyset::sql` with another database library"
)]
#[expect(unnameable_types, reason = "no one can implement it")]
pub trait SqlxFeature {}

impl Keyset {
    /// Does not compile without the feature `sqlx`.
    #[doc(hidden)]
    pub fn push_onto<Query: SqlxFeature>(&self, _: &mut Query) {}
}
