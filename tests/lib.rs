//! Fixtures of the macros: `fixtures/fail` is what they refuse, one mistake a file, with the
//! message that a user sees; `fixtures/pass` is what they take.
