//! What the Redis server for tests and the proxy before it do.

mod groups;
mod proxy;
mod redis_server;
