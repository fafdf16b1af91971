//! Programs in `fixtures` that need a feature of `aplomb` which is off.
