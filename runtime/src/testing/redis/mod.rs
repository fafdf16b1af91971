//! Redis servers for tests: one, several behind sentinels, a cluster.

mod cluster;
mod directory;
mod group;
mod port;
mod process;
mod reply;
mod sentinels;

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, ready};

pub use self::cluster::{Migration, RedisCluster};
use self::directory::ServerDirectory;
use self::port::Port;
use self::process::{Down, Process, Role};
pub use self::reply::Reply;
pub use self::sentinels::RedisSentinels;
use super::Elapse;

/// A `redis-server` of its own, on a free port of the loopback interface, which can be paused,
/// killed and started again.
///
/// It keeps its data in a temporary directory: every write is in its append-only file before it
/// is answered, so nothing answered is lost when it is killed. Its port stays the same over
/// restarts. When it is dropped, the process ends and the directory is removed; a `static` is never
/// dropped.
///
/// Its methods block the thread, for up to ten seconds where the server hangs. They panic where the
/// server does not do what it should.
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
    // Dropped in this order: the directory goes once nobody writes to it.
    process: Mutex<Option<Process>>,
    port: Port,
    role: Role,
    directory: ServerDirectory,
}

impl RedisServer {
    /// Starts a server, and returns once it answers.
    ///
    /// # Panics
    ///
    /// Where `redis-server` is not on the `PATH`, or does not come up within ten seconds: then with
    /// the end of its log.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `&["--maxmemory", "100mb"]`, which it keeps
    /// over restarts.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start) does.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().copied().map(String::from).collect();
        Self::up(Self::start_on(Role::Server(options), Port::free))
    }

    /// Starts a server on the first of the ports that is not taken after all.
    fn start_on(role: Role, mut next_port: impl FnMut() -> Port) -> Result<Self, Down> {
        let directory = ServerDirectory::new();
        for _ in 0..PORTS {
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
                Err(Down::PortTaken) => directory.wipe(),
                Err(down) => return Err(down),
            }
        }
        Err(Down::PortTaken)
    }

    #[track_caller]
    fn up<T>(started: Result<T, Down>) -> T {
        match started {
            Ok(up) => up,
            Err(down) => panic!("{down}"),
        }
    }

    /// Where it listens, or did before it was killed.
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL: `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The id of its process; `None` after [`kill`](Self::kill). It changes with every restart.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Stops the process as a debugger does (SIGSTOP), and returns once it stands still.
    ///
    /// Its connections stay open, and the system accepts new ones for it; nothing is answered.
    #[track_caller]
    pub fn pause(&self) {
        self.process().as_ref().expect(RUNNING).pause();
    }

    /// Lets a paused process go on (SIGCONT). It first does what it was sent in the meantime.
    #[track_caller]
    pub fn resume(&self) {
        self.process().as_ref().expect(RUNNING).resume();
    }

    /// Kills the process (SIGKILL), and returns once it has ended. From then on connections are
    /// refused. Does nothing to a server that was killed before.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Starts it again with the data it had, and returns once it answers. One that runs is killed
    /// first.
    #[track_caller]
    pub fn restart(&self) {
        self.start_again(|| ());
    }

    /// Starts it again without data, as [`restart`](Self::restart) does.
    #[track_caller]
    pub fn restart_empty(&self) {
        self.start_again(|| self.directory.wipe());
    }

    /// Forgets all scripts (`SCRIPT FLUSH`), as a failover to a replica may.
    #[track_caller]
    pub fn flush_scripts(&self) {
        assert_eq!(self.command(&["SCRIPT", "FLUSH"]), Reply::ok());
    }

    /// Removes all keys (`FLUSHALL`).
    #[track_caller]
    pub fn flush_all(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), Reply::ok());
    }

    /// Sends a command, on a connection of its own, and returns the reply. An error that the server
    /// replies is [`Reply::Error`].
    ///
    /// # Panics
    ///
    /// Where no reply comes within ten seconds.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        match reply::ask(self.address(), arguments, ANSWER) {
            Ok(reply) => reply,
            Err(error) => panic!("redis-server at {} did not answer: {error}", self.address()),
        }
    }

    /// The same, where there may be no reply: the server may be down, or hang.
    fn try_command(&self, arguments: &[&str]) -> Option<Reply> {
        reply::ask(self.address(), arguments, GLANCE).ok()
    }

    /// Whether it takes part: it was not killed, and answers.
    fn answers(&self) -> bool {
        self.try_command(&["PING"]).is_some()
    }

    /// Lets time pass for all that a [`RedisStore`](crate::store::RedisStore) keeps, without waiting:
    /// what expires does so that much earlier, and buckets are full that much earlier.
    #[track_caller]
    pub fn age(&self, by: Duration) {
        let micros = by.as_micros().to_string();
        assert_eq!(
            self.command(&["EVAL", include_str!("age.lua"), "0", &micros]),
            Reply::Integer(0)
        );
    }

    #[track_caller]
    fn start_again(&self, before: impl FnOnce()) {
        let mut process = self.process();
        process.take();
        before();
        *process = Some(Self::up(Process::start(
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

/// So many ports are tried.
const PORTS: usize = 8;

/// A command's reply takes no longer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long one look at a server may take.
const GLANCE: Duration = Duration::from_millis(200);

const RUNNING: &str = "the redis-server was killed and not started again";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn bare() -> Role {
        Role::Server(Vec::new())
    }

    #[test]
    fn a_port_that_somebody_took_is_left_to_them() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let mut ports = vec![Port::free(), Port::unheld(address)];
        let server = RedisServer::up(RedisServer::start_on(bare(), || {
            ports.pop().expect("two are enough")
        }));
        assert_ne!(server.address(), address);
        assert_eq!(
            server.command(&["PING"]),
            Reply::Status(String::from("PONG"))
        );
    }

    #[test]
    fn another_server_on_the_port_is_not_taken_for_this_one() {
        let other = RedisServer::start();
        let mut ports = vec![Port::free(), Port::unheld(other.address())];
        let server = RedisServer::up(RedisServer::start_on(bare(), || {
            ports.pop().expect("two are enough")
        }));
        assert_ne!(server.address(), other.address());
    }
}
