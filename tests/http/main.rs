//! Tests over a socket, with a module for each policy. The names of the tests begin with their
//! rules.

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
mod paginate;
mod panics;
mod problem;
mod problem_pages;
mod proxies;
mod rate_limit;
mod redis;
mod router;
mod shutdown;
mod start;
mod valid;
mod version;
