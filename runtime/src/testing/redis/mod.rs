//! Redis servers for tests: a single server, several servers behind sentinels, or a cluster.

mod cluster;
mod directory;
mod group;
mod process;
mod reply;
mod sentinels;

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, ready};

pub use self::cluster::{Migration, RedisCluster};
use self::directory::ServerDirectory;
use self::process::{FailedStart, Process, Role};
pub use self::reply::Reply;
pub use self::sentinels::RedisSentinels;
use super::Elapse;
use super::port::Port;

/// A `redis-server` process on a free port of the loopback interface, which a test can pause, kill
/// and restart.
///
/// Its data is in a temporary directory. Each write is in the append-only file before the server
/// replies, so a kill loses no confirmed write. The port stays the same after a restart. When the
/// server is dropped, the process ends and the directory is removed. A `static` is never dropped.
///
/// Methods block the thread, for up to ten seconds if the server hangs. They panic if the
/// server does not start, stop or reply in time.
///
/// ```no_run
/// use aplomb::testing::{RedisServer, Reply};
///
/// let server = RedisServer::start();
/// assert_eq!(server.command(&["SET", "key", "value"]), Reply::Status(String::from("OK")));
/// server.kill();
/// server.restart();
/// assert_eq!(server.command(&["GET", "key"]), Reply::bytes("value"));
/// ```
#[derive(Debug)]
pub struct RedisServer {
    // Fields are dropped in this order: the process must have ended before its directory is
    // removed.
    process: Mutex<Option<Process>>,
    port: Port,
    role: Role,
    directory: ServerDirectory,
}

impl RedisServer {
    /// Starts a server, and returns after it replies to a `PING`.
    ///
    /// # Panics
    ///
    /// Panics if `redis-server` is not on the `PATH`, or does not reply within ten seconds. If it
    /// does not reply, the message has the end of its log.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more command-line options, such as `&["--maxmemory", "100mb"]`. A
    /// restart uses the same options.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`start`](Self::start).
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().copied().map(String::from).collect();
        Self::expect_started(Self::start_on(Role::Server(options), Port::free))
    }

    /// Starts a server. If another process takes the port before the server listens, tries the next
    /// port.
    fn start_on(role: Role, mut next_port: impl FnMut() -> Port) -> Result<Self, FailedStart> {
        let directory = ServerDirectory::new();
        for _ in 0..MAX_PORTS {
            let port = next_port();
            match Process::start(&directory, port.address(), &role) {
                Ok(process) => {
                    return Ok(Self {
                        process: Mutex::new(Some(process)),
                        port,
                        role,
                        directory,
                    });
                }
                Err(FailedStart::PortTaken) => directory.wipe(),
                Err(failed) => return Err(failed),
            }
        }
        Err(FailedStart::PortTaken)
    }

    #[track_caller]
    fn expect_started<T>(started: Result<T, FailedStart>) -> T {
        match started {
            Ok(started) => started,
            Err(failed) => panic!("{failed}"),
        }
    }

    /// Returns the address of the server. It stays the same after a kill and a restart.
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the URL of the server: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Returns the id of the process; `None` after [`kill`](Self::kill). The id changes with each
    /// restart.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Stops the process (SIGSTOP), and returns after it has stopped.
    ///
    /// Its connections stay open, and the operating system accepts new ones. Commands get no reply.
    ///
    /// # Panics
    ///
    /// Panics if the server was killed and not restarted.
    #[track_caller]
    pub fn pause(&self) {
        self.process().as_ref().expect(RUNNING).pause();
    }

    /// Continues a paused process (SIGCONT). It first executes the commands that were sent during
    /// the pause.
    ///
    /// # Panics
    ///
    /// Panics if the server was killed and not restarted.
    #[track_caller]
    pub fn resume(&self) {
        self.process().as_ref().expect(RUNNING).resume();
    }

    /// Kills the process (SIGKILL), and returns after it has ended. Connections are then refused.
    /// Does nothing if the server was killed before.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Starts the server again with its data, and returns after it replies. A running server is
    /// killed first.
    #[track_caller]
    pub fn restart(&self) {
        self.start_again(|| ());
    }

    /// Starts the server again without data, and returns after it replies. A running server is
    /// killed first.
    #[track_caller]
    pub fn restart_empty(&self) {
        self.start_again(|| self.directory.wipe());
    }

    /// Removes all cached scripts (`SCRIPT FLUSH`). A failover to a replica can have the same
    /// effect.
    #[track_caller]
    pub fn flush_scripts(&self) {
        assert_eq!(self.command(&["SCRIPT", "FLUSH"]), Reply::ok());
    }

    /// Removes all keys (`FLUSHALL`).
    #[track_caller]
    pub fn flush_all(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), Reply::ok());
    }

    /// Sends a command on a new connection, and returns the reply. An error reply is
    /// [`Reply::Error`].
    ///
    /// # Panics
    ///
    /// Panics if there is no reply within ten seconds.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        match reply::send(self.address(), arguments, REPLY_TIMEOUT) {
            Ok(reply) => reply,
            Err(error) => panic!("redis-server at {} did not reply: {error}", self.address()),
        }
    }

    /// Sends a command. Returns `None` if there is no reply within 200 ms, because the server is
    /// down or hangs.
    fn try_command(&self, arguments: &[&str]) -> Option<Reply> {
        reply::send(self.address(), arguments, PROBE_TIMEOUT).ok()
    }

    /// Returns whether the server replies to a `PING`.
    fn responds(&self) -> bool {
        self.try_command(&["PING"]).is_some()
    }

    /// Lets time pass for the data of a [`RedisStore`](crate::store::RedisStore), without a wait.
    /// Keys expire earlier by this time, and limit buckets refill earlier.
    #[track_caller]
    pub fn age(&self, by: Duration) {
        let micros = by.as_micros().to_string();
        assert_eq!(
            self.command(&["EVAL", include_str!("age.lua"), "0", &micros]),
            Reply::Integer(0)
        );
    }

    #[track_caller]
    fn start_again(&self, prepare: impl FnOnce()) {
        let mut process = self.process();
        process.take();
        prepare();
        *process = Some(Self::expect_started(Process::start(
            &self.directory,
            self.address(),
            &self.role,
        )));
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Elapse for RedisServer {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.age(time);
        Box::pin(ready(()))
    }
}

/// The maximum number of ports that a start tries. A tried port was free shortly before, so it
/// fails only if another process binds it at the same moment.
const MAX_PORTS: usize = 8;

/// The time limit of a reply. It is longer than any command of a test takes on a slow machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of a reply to a probe. It is short, because callers repeat a probe until a
/// condition is true, and a hanging server must not stop them.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

const RUNNING: &str = "the redis-server was killed and not started again";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn without_options() -> Role {
        Role::Server(Vec::new())
    }

    #[test]
    fn a_port_of_another_process_is_skipped() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let mut ports = vec![Port::free(), Port::unreserved(address)];
        let server = RedisServer::expect_started(RedisServer::start_on(without_options(), || {
            ports.pop().expect("at most two attempts")
        }));
        assert_ne!(server.address(), address);
        assert_eq!(
            server.command(&["PING"]),
            Reply::Status(String::from("PONG"))
        );
    }

    #[test]
    fn a_port_of_another_redis_server_is_skipped() {
        let other = RedisServer::start();
        let mut ports = vec![Port::free(), Port::unreserved(other.address())];
        let server = RedisServer::expect_started(RedisServer::start_on(without_options(), || {
            ports.pop().expect("at most two attempts")
        }));
        assert_ne!(server.address(), other.address());
    }
}
