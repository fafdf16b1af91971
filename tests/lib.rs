//! Fixtures of the macros: code that they reject in `fixtures/fail`, one mistake in each file, with
//! the messages of the compiler; code that they accept in `fixtures/pass`.
