//! The attribute and derive macros of Aplomb.
