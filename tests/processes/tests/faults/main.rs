//! Services and a shared Redis that stop and die: real processes, killed with SIGKILL and stopped
//! with SIGSTOP.

mod client;
mod concurrent;
mod deployment;
mod encrypted;
mod instance;
mod killed;
mod limits;
mod panics;
mod start;
mod stopped;
mod store_restarts;
mod terminated;
mod unresponsive_store;
