//! What clients see, over a socket. A module for each policy; tests are named after the rules.

mod admission;
mod algorithms;
mod app;
mod auth;
mod codes;
mod deprecation;
mod hostile;
mod idempotency;
mod ids;
mod input;
mod links;
mod nested;
mod observe;
mod optional;
mod pages;
mod paginate;
mod panics;
mod problem;
mod proxies;
mod rate_limit;
mod redis;
mod router;
mod shutdown;
mod start;
mod valid;
mod version;
