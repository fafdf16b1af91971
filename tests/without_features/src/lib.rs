//! Tests of programs in `fixtures` that need a feature of `aplomb` that is off.
