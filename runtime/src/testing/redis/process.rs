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

/// The role of a process.
#[derive(Debug)]
pub(super) enum Role {
    /// A server with these command-line options.
    Server(Vec<String>),
    /// A sentinel with this configuration. A sentinel rewrites its configuration file.
    Sentinel(String),
}

/// The reason why a server did not start.
#[derive(Debug)]
pub(super) enum FailedStart {
    /// `redis-server` is not installed.
    Missing,
    /// Another process listens on the port.
    PortTaken,
    /// Another reason: the error, or the end of the log.
    Failed(String),
}

impl Process {
    /// Starts a server with the data of the directory, and returns after it replies.
    pub(super) fn start(
        directory: &ServerDirectory,
        address: SocketAddr,
        role: &Role,
    ) -> Result<Self, FailedStart> {
        let mut process = Self::spawn(directory, address, role)
            .map_err(|error| FailedStart::from_spawn_error(&error))?;
        let has_started = holds_within(START_TIMEOUT, || {
            process.has_ended() || process.responds(address)
        }) && !process.has_ended();
        if has_started {
            Ok(process)
        } else {
            Err(FailedStart::from_log(directory.end_of_log()))
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
                let file = directory.data().join(CONFIGURATION_FILE);
                if !file.exists() {
                    fs::write(file, format!("bind {host}\nport {port}\n{configuration}"))?;
                }
                command.args([CONFIGURATION_FILE, "--sentinel"]);
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

    /// Returns whether this process replies. The process ids are compared, because another server
    /// can have the port.
    fn responds(&self, address: SocketAddr) -> bool {
        match reply::send(address, &["PING"], PROBE_TIMEOUT) {
            Ok(Reply::Status(pong)) if pong == "PONG" => self.is_own_process(address),
            Ok(Reply::Error(error)) => error.starts_with("NOAUTH"),
            _ => false,
        }
    }

    fn is_own_process(&self, address: SocketAddr) -> bool {
        let own_id = format!("process_id:{}", self.id());
        match reply::send(address, &["INFO", "server"], PROBE_TIMEOUT) {
            Ok(Reply::Bytes(info)) => info
                .split(u8::is_ascii_whitespace)
                .any(|line| line == own_id.as_bytes()),
            _ => false,
        }
    }
}

impl FailedStart {
    fn from_spawn_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Failed(error.to_string()),
        }
    }

    fn from_log(log: String) -> Self {
        if log.contains("Address already in use") {
            Self::PortTaken
        } else {
            Self::Failed(log)
        }
    }
}

impl fmt::Display for FailedStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "redis-server is not on the PATH: install it, for example with 'apt-get install redis-server'",
            ),
            Self::PortTaken => f.write_str("another process listens on the port of redis-server"),
            Self::Failed(log) => write!(f, "redis-server did not start:\n{log}"),
        }
    }
}

/// The file in which a sentinel stores its configuration and its state.
const CONFIGURATION_FILE: &str = "sentinel.conf";

/// The options of a server. Each write is on the disk before its reply, so a kill loses no
/// confirmed write. Snapshots are off, because the append-only file has all data.
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

/// The time limit of a start. It is longer than a start takes on a slow machine.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of a reply to a probe. It is short, because the probe is repeated until the
/// server replies.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
