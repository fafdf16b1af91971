//! What the Redis server for tests does.

mod redis_server;
