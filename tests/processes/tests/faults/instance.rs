//! A process of the service.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use tokio::task::JoinHandle;

use crate::bench::{runs, until};
use crate::client::{Client, Order, Reply};

/// A running instance. Killed when dropped, also when it is stopped.
pub(crate) struct Instance {
    child: Child,
    pub(crate) client: Client,
    gates: PathBuf,
    log: PathBuf,
}

/// What an instance is started with.
pub(crate) struct Settings {
    command: Command,
    gates: PathBuf,
    log: PathBuf,
}

/// A request that is under way.
pub(crate) struct Pending(JoinHandle<Option<Reply>>);

impl Settings {
    /// Of an instance with this name, which keeps its gates and its log here over restarts.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let (gates, log) = (directory.join(name), directory.join(format!("{name}.log")));
        fs::create_dir_all(&gates).expect("a directory for the gates");
        let mut command = Command::new(env!("CARGO_BIN_EXE_aplomb-process-tests"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.env("GATES", &gates).env("RUNS", runs(directory));
        Self { command, gates, log }.with(&[
            ("APLOMB_ADDR", "127.0.0.1:0"),
            ("APLOMB_API_KEYS", KEYS),
            ("APLOMB_SECRET", "a secret for tests, of 32 bytes or more"),
            ("TOKIO_WORKER_THREADS", "2"),
        ])
    }

    pub(crate) fn with(mut self, settings: &[(&str, &str)]) -> Self {
        self.command.envs(settings.iter().copied());
        self
    }

    /// Starts it, and returns once it listens.
    pub(crate) fn start(mut self) -> Instance {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let spawned = self.command.stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = spawned.expect("the service's binary");
        let said = BufReader::new(child.stdout.take().expect("its output"));
        let listening = |line: String| line.strip_prefix("listening on http://").map(str::to_owned);
        let address = said.lines().find_map(|line| listening(line.expect("UTF-8")));
        let address = address.unwrap_or_else(|| panic!("it did not start: {}", read(&self.log)));
        Instance { child, client: Client::new(address), gates: self.gates, log: self.log }
    }

    /// Runs it until it ends.
    pub(crate) fn run(mut self) -> Output {
        self.command.output().expect("the service's binary")
    }
}

fn is_setting(name: &str) -> bool {
    name.starts_with("APLOMB_") || name == "RUST_LOG"
}

const KEYS: &str = "alice:sk_test_alice";

impl Instance {
    pub(crate) async fn send(&self, order: &Order) -> Reply {
        self.client.send(order).await.expect("an answer")
    }

    /// Sends as often as the answer says that this helps.
    pub(crate) async fn retry(&self, order: &Order) -> Reply {
        self.client.retry(order).await.expect("an answer")
    }

    /// Sends, and goes on.
    pub(crate) fn post(&self, order: &Order) -> Pending {
        let (client, order) = (self.client.clone(), order.clone());
        Pending(tokio::spawn(async move { client.send(&order).await }))
    }

    /// Sends as often as the answer says that this helps, and goes on.
    pub(crate) fn insist(&self, order: &Order) -> Pending {
        let (client, order) = (self.client.clone(), order.clone());
        Pending(tokio::spawn(async move { client.retry(&order).await }))
    }

    /// Lets the runs of this item go on that this instance holds, or will.
    pub(crate) fn let_go(&self, item: &str) {
        File::create(self.gates.join(item)).expect("a gate is opened");
    }

    /// Kills it (SIGKILL), and returns once it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("an end");
    }

    /// Stops it as a debugger does (SIGSTOP), and returns once it stands still.
    pub(crate) async fn stop(&self) {
        self.signal("STOP");
        until("it stands still", || self.stands_still() != Some(false)).await;
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Asks it to end (SIGTERM), and returns once it takes no more connections.
    pub(crate) async fn terminate(&self) {
        self.signal("TERM");
        until("it listens no more", || TcpStream::connect(self.client.address()).is_err()).await;
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("an end")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Every shell has `kill`, where the program of that name may be missing.
    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "'{kill}' failed");
    }

    /// Whether it does, where the system tells.
    fn stands_still(&self) -> Option<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        Some(after_name.trim_start().starts_with('T'))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It has ended already where the test has ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.log());
        }
    }
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

impl Pending {
    pub(crate) async fn answer(self) -> Reply {
        self.0.await.expect("no panic").expect("an answer")
    }

    /// Whether the connection ends without an answer.
    pub(crate) async fn broken_off(self) -> bool {
        self.0.await.expect("no panic").is_none()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.0.is_finished()
    }
}
