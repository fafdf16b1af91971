//! For tests: a clock that is moved by hand, and the suites that every store must pass.

mod clock;

pub use clock::TestClock;
