use core::fmt;
use core::time::Duration;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::directory::ServerDirectory;
use super::reply::{self, Reply};
use crate::testing::process::Child;
use crate::testing::wait::holds_within;

/// A process that runs `redis-server`.
#[derive(Debug)]
pub(super) struct Process(Child);

/// What a process does.
#[derive(Debug)]
pub(super) enum Role {
    /// It keeps data, with these options.
    Server(Vec<String>),
    /// It watches servers, as this configuration says, which it rewrites.
    Sentinel(String),
}

/// Why there is no server.
#[derive(Debug)]
pub(super) enum Down {
    /// The program is not there.
    Missing,
    /// Somebody else listens on the port.
    PortTaken,
    /// It did not come up; the end of its log.
    Failed(String),
}

impl Process {
    /// Starts a server on the data that is there, and returns once it answers.
    pub(super) fn start(
        directory: &ServerDirectory,
        address: SocketAddr,
        role: &Role,
    ) -> Result<Self, Down> {
        let mut process =
            Self::spawn(directory, address, role).map_err(|error| Down::of_spawn(&error))?;
        let up = holds_within(PATIENCE, || process.has_ended() || process.answers(address))
            && !process.has_ended();
        if up {
            Ok(process)
        } else {
            Err(Down::of_log(directory.end_of_log()))
        }
    }

    fn spawn(directory: &ServerDirectory, address: SocketAddr, role: &Role) -> io::Result<Self> {
        let log = File::create(directory.log())?;
        let mut command = Command::new("redis-server");
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        match role {
            Role::Server(options) => {
                command
                    .args(["--bind", &host, "--port", &port])
                    .args(OPTIONS)
                    .args(options);
            }
            Role::Sentinel(configuration) => {
                let file = directory.data().join(CONFIGURATION);
                if !file.exists() {
                    fs::write(file, format!("bind {host}\nport {port}\n{configuration}"))?;
                }
                command.args([CONFIGURATION, "--sentinel"]);
            }
        }
        command
            .current_dir(directory.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Child::spawn(&mut command).map(Self)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    #[track_caller]
    pub(super) fn pause(&self) {
        self.0.pause();
    }

    #[track_caller]
    pub(super) fn resume(&self) {
        self.0.resume();
    }

    fn has_ended(&mut self) -> bool {
        self.0.has_ended()
    }

    /// Whether it is this process that answers, and not another one on the port.
    fn answers(&self, address: SocketAddr) -> bool {
        match reply::ask(address, &["PING"], GLANCE) {
            Ok(Reply::Status(pong)) if pong == "PONG" => self.is_at(address),
            Ok(Reply::Error(error)) => error.starts_with("NOAUTH"),
            _ => false,
        }
    }

    fn is_at(&self, address: SocketAddr) -> bool {
        let own = format!("process_id:{}", self.id());
        match reply::ask(address, &["INFO", "server"], GLANCE) {
            Ok(Reply::Bytes(info)) => info
                .split(u8::is_ascii_whitespace)
                .any(|line| line == own.as_bytes()),
            _ => false,
        }
    }
}

impl Down {
    fn of_spawn(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Failed(error.to_string()),
        }
    }

    fn of_log(log: String) -> Self {
        if log.contains("Address already in use") {
            Self::PortTaken
        } else {
            Self::Failed(log)
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "redis-server is not on the PATH: install it, such as with 'apt-get install redis-server'",
            ),
            Self::PortTaken => f.write_str("somebody else listens on the port of this redis-server"),
            Self::Failed(log) => write!(f, "redis-server did not come up:\n{log}"),
        }
    }
}

/// Where a sentinel keeps what it knows.
const CONFIGURATION: &str = "sentinel.conf";

/// A write is on the disk before it is answered; there are no snapshots beside.
const OPTIONS: [&str; 10] = [
    "--daemonize",
    "no",
    "--loglevel",
    "warning",
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
];

/// A server that comes up at all does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one look at a starting server may take.
const GLANCE: Duration = Duration::from_secs(1);
