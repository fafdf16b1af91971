//! Fixtures of the macros. `fixtures/fail` contains code that the macros reject, with one mistake
//! in each file, and the messages of the compiler. `fixtures/pass` contains code that the macros
//! accept.
