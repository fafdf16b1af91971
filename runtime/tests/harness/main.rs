//! Tests the Redis and PostgreSQL servers that other tests use, and the proxy in front of them.

mod groups;
#[cfg(feature = "postgres")]
mod postgres_server;
mod proxy;
mod redis_server;

use aplomb::testing::Program;

fn is_running(pid: u32) -> bool {
    Program::new("sh")
        .args(["-c", &format!("kill -0 {pid} 2>/dev/null")])
        .run()
        .status
        .success()
}
