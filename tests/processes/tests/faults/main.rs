//! Tests with real processes. Services and a shared Redis are killed with SIGKILL and suspended
//! with SIGSTOP.

mod client;
mod commands;
mod concurrent;
mod connections;
mod deployment;
mod encrypted;
mod hangups;
mod instance;
mod killed;
mod large_bodies;
mod limits;
mod measure;
mod panics;
mod start;
mod stopped;
mod store_restarts;
mod terminated;
mod unresponsive_store;
