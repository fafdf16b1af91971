//! What the Redis server for tests and the proxy before it do.

mod proxy;
mod redis_server;
