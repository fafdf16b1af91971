use std::fs::{self, File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use super::command::as_owner;
use super::{PostgresServer, TIMEOUT};
use crate::testing::directory::Directory;
use crate::testing::port::Port;
use crate::testing::process::Child;
use crate::testing::wait::holds_within;

/// A PgBouncer in front of a [`PostgresServer`], on a free port of the loopback interface.
///
/// It pools transactions (`pool_mode = transaction`): each transaction of a client can use another
/// connection of the server. It ends when it is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    // Fields are dropped in this order: the process must have ended before its directory is
    // removed.
    _process: Child,
    port: Port,
    _directory: Directory,
}

impl PgBouncer {
    /// Starts a pooler with this number of connections to each database of the server.
    ///
    /// # Panics
    ///
    /// Panics if `pgbouncer` is not installed, or does not accept connections within thirty
    /// seconds.
    #[track_caller]
    pub fn start(server: &PostgresServer, connections: u32) -> Self {
        let (directory, port) = (Directory::new(), Port::free());
        let process = spawn(&directory, port.address(), server.address(), connections);
        let mut process = match process {
            Ok(process) => process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
                "pgbouncer is not installed: install it, for example with 'apt-get install pgbouncer'"
            ),
            Err(error) => panic!("pgbouncer cannot be started: {error}"),
        };
        let accepts = || TcpStream::connect(port.address()).is_ok();
        let has_started = holds_within(TIMEOUT, || process.has_ended() || accepts());
        if !has_started || process.has_ended() {
            let log = fs::read_to_string(directory.file("log")).unwrap_or_default();
            panic!("pgbouncer did not start:\n{log}");
        }
        Self {
            _process: process,
            port,
            _directory: directory,
        }
    }

    /// Returns the address of the pooler.
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the URL of a database of the server through the pooler.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address())
    }
}

fn spawn(
    directory: &Directory,
    address: SocketAddr,
    server: SocketAddr,
    connections: u32,
) -> io::Result<Child> {
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
    let configuration = directory.file("pgbouncer.ini");
    fs::write(
        &configuration,
        format!(
            "[databases]\n\
             * = host={} port={} user=postgres\n\
             [pgbouncer]\n\
             listen_addr = {}\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n",
            server.ip(),
            server.port(),
            address.ip(),
            address.port(),
        ),
    )?;
    let log = File::create(directory.file("log"))?;
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    let program = program
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists());
    let program = program.unwrap_or_else(|| Path::new("pgbouncer"));
    let mut command = as_owner(program, directory.path());
    command
        .arg(configuration)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Child::spawn(&mut command)
}
