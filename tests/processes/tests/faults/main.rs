//! What is kept when services, and the Redis that they share, stop and die: real processes, killed
//! with SIGKILL and stopped with SIGSTOP.

mod bench;
mod client;
mod ending;
mod instance;
mod killed;
mod limits;
mod panics;
mod restarts;
mod sealed;
mod silence;
mod start;
mod stopped;
mod together;
