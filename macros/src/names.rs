//! Names for generated items and variables.
//!
//! All begin with `__aplomb_`, which users do not write. The hygiene of Rust's macros protects
//! local variables, but neither types nor constants. If the user had a constant with the name of a
//! generated variable, the variable would become a pattern that matches the constant.

use proc_macro2::{Ident, Span};
use quote::format_ident;

/// Returns the name of this kind, with the span of the macro.
pub(crate) fn name(kind: &str) -> Ident {
    name_at(kind, Span::mixed_site())
}

/// Returns the name of this kind, with this span.
pub(crate) fn name_at(kind: &str, span: Span) -> Ident {
    format_ident!("__aplomb_{kind}", span = span)
}

/// Returns `count` numbered names of this kind.
pub(crate) fn numbered(kind: &str, count: usize) -> Vec<Ident> {
    (0..count)
        .map(|number| name(&format!("{kind}{number}")))
        .collect()
}
