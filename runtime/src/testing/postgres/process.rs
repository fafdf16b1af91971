use core::fmt;
use core::time::Duration;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use super::TIMEOUT;
use super::command::{as_owner, programs};
use crate::testing::directory::Directory;
use crate::testing::process::Child;
use crate::testing::wait::holds_within;

/// The data of a server, in a temporary directory. It is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    root: Directory,
    programs: PathBuf,
}

/// The processes of a server. They are stopped when this value is dropped.
#[derive(Debug)]
pub(super) struct Process(Child);

/// The reason why a server did not start.
#[derive(Debug)]
pub(super) enum FailedStart {
    /// PostgreSQL is not installed.
    Missing,
    /// Another process listens on the port.
    PortTaken,
    /// Another reason: the error, or the end of the log.
    Failed(String),
}

impl Cluster {
    /// Creates the data of a new server.
    pub(super) fn create() -> Result<Self, FailedStart> {
        let cluster = Self::empty()?;
        let mut initdb = cluster.command("initdb");
        run(initdb
            .arg("--pgdata")
            .arg(cluster.data())
            .args(INITDB_OPTIONS))?;
        fs::write(cluster.data().join("pg_hba.conf"), ACCESS)?;
        Ok(cluster)
    }

    /// Copies the data of a server, for a replica that follows it.
    pub(super) fn copy_of(primary: SocketAddr) -> Result<Self, FailedStart> {
        let cluster = Self::empty()?;
        let (host, port) = (primary.ip().to_string(), primary.port().to_string());
        let mut copy = cluster.command("pg_basebackup");
        copy.args(["--host", &host, "--port", &port, "--username=postgres"])
            .arg("--pgdata")
            .arg(cluster.data())
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        run(&mut copy)?;
        Ok(cluster)
    }

    fn empty() -> Result<Self, FailedStart> {
        let programs = programs().ok_or(FailedStart::Missing)?;
        let root = Directory::new();
        // The server may run as another user.
        fs::set_permissions(root.path(), Permissions::from_mode(0o777))?;
        Ok(Self { root, programs })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = as_owner(&self.programs.join(program), self.root.path());
        command
            .current_dir(self.root.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        self.root.file("data")
    }

    /// Returns the last lines of the log.
    fn end_of_log(&self) -> String {
        let log = fs::read(self.root.file("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(MAX_LOG_LINES)..].join("\n")
    }

    /// Returns `true` if the process with this id accepts connections.
    fn is_ready(&self, id: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines().map(str::trim);
        // The file has the process id in line 1 and the status in line 8.
        lines.next() == Some(&*id.to_string()) && lines.nth(6) == Some("ready")
    }
}

impl Process {
    /// Starts a server, and returns after it accepts connections.
    pub(super) fn start(
        cluster: &Cluster,
        address: SocketAddr,
        settings: &[String],
    ) -> Result<Self, FailedStart> {
        let log = File::create(cluster.root.file("log"))?;
        let mut command = cluster.command("postgres");
        command.arg("-D").arg(cluster.data());
        let host = format!("listen_addresses={}", address.ip());
        let port = format!("port={}", address.port());
        let socket = format!("unix_socket_directories={}", cluster.root.path().display());
        for setting in [&*host, &*port, &*socket].into_iter().chain(SETTINGS) {
            command.args(["-c", setting]);
        }
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = Self(Child::spawn(&mut command)?);
        let id = process.id();
        let is_ready = holds_within(TIMEOUT, || process.0.has_ended() || cluster.is_ready(id));
        if is_ready && !process.0.has_ended() {
            Ok(process)
        } else {
            Err(FailedStart::from_log(cluster.end_of_log()))
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Stops all processes. The main process is first, because it starts the others.
    #[track_caller]
    pub(super) fn pause(&self) {
        self.0.pause();
        signal("STOP", &children_of(self.id()));
    }

    /// Continues all processes.
    #[track_caller]
    pub(super) fn resume(&self) {
        signal("CONT", &children_of(self.id()));
        self.0.resume();
    }

    /// Stops the server without writing its data, and closes all connections, as by `pg_ctl stop -m
    /// immediate`. Returns `false` if it still runs after the time limit.
    pub(super) fn stop_immediately(&mut self) -> bool {
        // A stopped process acts on a signal after it continues.
        let mut processes = children_of(self.id());
        processes.push(self.id());
        signal("CONT", &processes);
        signal("QUIT", &[self.id()]);
        self.0.wait(TIMEOUT).is_some()
    }

    /// Kills all processes, and returns after they have ended. A process that survives would keep
    /// the shared memory, and a restart would fail.
    pub(super) fn kill(mut self) {
        self.kill_all();
    }

    fn kill_all(&mut self) {
        // A main process that is stopped starts no further processes.
        signal("STOP", &[self.id()]);
        let children = children_of(self.id());
        signal("KILL", &children);
        self.0.kill();
        holds_within(TIMEOUT, || !children.iter().copied().any(is_running));
    }
}

impl Drop for Process {
    /// Stops the server. Its main process then waits for the others, so that no zombies are left
    /// on systems whose first process does not wait for them.
    fn drop(&mut self) {
        if !self.0.has_ended() && !self.stop_immediately() {
            self.kill_all();
        }
    }
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<(), FailedStart> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(FailedStart::Failed(error))
}

/// Sends a signal to processes. A process that has ended is ignored.
fn signal(signal: &str, ids: &[u32]) {
    if ids.is_empty() {
        return;
    }
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    let kill = format!("kill -{signal} {} 2>&1", ids.join(" "));
    // The command fails if one of the processes has ended.
    let _ = Command::new("sh").args(["-c", &kill]).output();
    // The processes act on a signal when they are scheduled next.
    thread::sleep(Duration::from_millis(2));
}

/// Returns the processes that this process has started.
fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let id = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let ids = entries.filter_map(|entry| id(entry.ok()?));
    ids.filter(|id| state_and_parent(*id).is_some_and(|(_, found)| found == parent))
        .collect()
}

/// Returns `true` if the process has not ended. A zombie has ended.
fn is_running(id: u32) -> bool {
    state_and_parent(id).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

fn state_and_parent(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program is in parentheses, and may contain spaces and parentheses itself.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

impl FailedStart {
    fn from_log(log: String) -> Self {
        if log.contains("Address already in use") {
            Self::PortTaken
        } else {
            Self::Failed(log)
        }
    }
}

impl From<io::Error> for FailedStart {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl fmt::Display for FailedStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "PostgreSQL is not installed: install it, for example with 'apt-get install postgresql'",
            ),
            Self::PortTaken => f.write_str("another process listens on the port of PostgreSQL"),
            Self::Failed(log) => write!(f, "PostgreSQL did not start:\n{log}"),
        }
    }
}

const INITDB_OPTIONS: [&str; 8] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    // Small files make a new server faster.
    "--wal-segsize=1",
    "--no-sync",
    "--no-instructions",
    "--data-checksums",
];

/// The rules of access (`pg_hba.conf`). The first rule that matches decides.
const ACCESS: &str = "\
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
local all all trust
";

/// The settings of a server. A kill of the processes loses no commit without `fsync`: the pages
/// that the operating system has are lost only when the machine stops.
const SETTINGS: [&str; 6] = [
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_wal_size=64MB",
    "jit=off",
    "log_min_messages=warning",
];

/// The number of log lines in an error message: enough for the reason of a failed start.
const MAX_LOG_LINES: usize = 20;
