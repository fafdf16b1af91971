//! Programs under test.

mod child;

use core::time::Duration;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;

pub(super) use self::child::Child;
use super::Client;
use super::directory::Directory;
use super::wait::{PATIENCE, holds_within};

/// A program to start: its arguments and its environment.
///
/// The program inherits the environment, but for the variables of Aplomb (`APLOMB_…`) and `RUST_LOG`,
/// and is told to listen on a free port (`APLOMB_ADDR=127.0.0.1:0`). It has no standard input.
///
/// ```no_run
/// use aplomb::testing::Program;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // In a test of the crate: `Program::new(env!("CARGO_BIN_EXE_payments"))`.
/// let program = Program::new("target/debug/payments").env("APLOMB_API_KEYS", "alice:sk_test_alice");
/// let mut service = program.start();
/// assert_eq!(service.client().get("/v1/health").send().await.status, 200);
/// service.terminate();
/// assert_eq!(service.wait().code(), Some(0));
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a program does nothing until it is started"]
pub struct Program {
    command: Command,
    broken_stdout: bool,
}

/// A running [`Program`]. It is killed when it is dropped, so that no failed test leaves one behind;
/// if the test has failed, what it wrote to its standard error is printed.
///
/// Methods block the thread. They panic where the process does not do what it should within 20 seconds.
#[derive(Debug)]
pub struct Process {
    // Dropped in this order: the directory goes once nobody writes to it.
    child: Child,
    directory: Directory,
    name: OsString,
    address: Option<SocketAddr>,
}

impl Program {
    /// The program at this path, or of this name on the `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .env("APLOMB_ADDR", "127.0.0.1:0")
            .stdin(Stdio::null());
        Self {
            command,
            broken_stdout: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets variables of the environment.
    pub fn envs<'a>(mut self, variables: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Self {
        self.command.envs(variables.into_iter().copied());
        self
    }

    /// Takes a variable out of the environment.
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the directory that it runs in.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Lets every write to its standard output fail, as in `program | true`.
    pub const fn with_broken_stdout(mut self) -> Self {
        self.broken_stdout = true;
        self
    }

    /// Starts it, and returns once it has written `listening on http://<address>`, as
    /// [`serve`](crate::serve()) does.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or ends, or does not listen within 20 seconds.
    #[track_caller]
    pub fn start(self) -> Process {
        let mut process = self.spawn();
        let listens = holds_within(PATIENCE, || {
            process.address = listening_on(&process.stdout());
            process.address.is_some() || process.child.has_ended()
        });
        assert!(
            listens && process.address.is_some(),
            "{} does not listen",
            process.name.display()
        );
        process
    }

    /// Starts it, and returns at once.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(mut self) -> Process {
        let directory = Directory::new();
        let file =
            |name| File::create(directory.file(name)).expect("a temporary directory is writable");
        self.command.stderr(file(STDERR));
        self.command.stdout(if self.broken_stdout {
            Stdio::piped()
        } else {
            file(STDOUT).into()
        });
        let name = self.command.get_program().to_owned();
        let mut child = match Child::spawn(&mut self.command) {
            Ok(child) => child,
            Err(error) => panic!("{} cannot be started: {error}", name.display()),
        };
        child.close_stdout();
        Process {
            child,
            directory,
            name,
            address: None,
        }
    }

    /// Runs it until it ends, for up to ten minutes.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or does not end.
    #[track_caller]
    pub fn run(self) -> Output {
        let mut process = self.spawn();
        let Some(status) = process.child.wait(RUN) else {
            panic!("{} does not end", process.name.display())
        };
        Output {
            status,
            stdout: process.read(STDOUT),
            stderr: process.read(STDERR),
        }
    }
}

impl Process {
    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// If it was not started with [`Program::start`].
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address
            .expect("only `Program::start` waits for the address")
    }

    /// A client of it.
    ///
    /// # Panics
    ///
    /// If it was not started with [`Program::start`].
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// What it has written to its standard output so far. Bytes that are not UTF-8 are replaced.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.read(STDOUT)).into_owned()
    }

    /// What it has written to its standard error so far. Bytes that are not UTF-8 are replaced.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.read(STDERR)).into_owned()
    }

    /// Stops it as a debugger does (SIGSTOP), and returns once it has stopped. Its connections stay open.
    #[track_caller]
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Continues a stopped process (SIGCONT).
    #[track_caller]
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Asks it to end (SIGTERM), and returns at once.
    #[track_caller]
    pub fn terminate(&self) {
        self.child.signal("TERM");
    }

    /// Kills it (SIGKILL), and returns once it has ended.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Waits until it ends, for up to a minute.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait(END);
        status.unwrap_or_else(|| panic!("{} does not end", self.name.display()))
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.directory.file(file)).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} wrote:\n{}", self.name.display(), self.stderr());
        }
    }
}

fn is_setting(name: &str) -> bool {
    name.starts_with("APLOMB_") || name == "RUST_LOG"
}

/// The address in the first whole line that names one.
fn listening_on(stdout: &str) -> Option<SocketAddr> {
    let mut lines = stdout
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines.find_map(|line| {
        line.trim_end()
            .strip_prefix("listening on http://")?
            .parse()
            .ok()
    })
}

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// Longer than a compiler needs for a small program on a slow machine.
const RUN: Duration = Duration::from_mins(10);

/// Longer than a service waits by default for its requests once it is told to end.
const END: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("sh").args(["-c", script])
    }

    #[test]
    fn a_program_runs_with_its_arguments_and_environment() {
        let output = shell("echo $0 $APLOMB_LEASE; echo no >&2; exit 3")
            .arg("zero")
            .envs(&[("APLOMB_LEASE", "5s")])
            .run();
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(3), &b"zero 5s\n"[..])
        );
        assert_eq!(output.stderr, b"no\n");
    }

    #[test]
    fn a_started_process_has_an_address_once_its_line_is_whole() {
        let mut process =
            shell("printf 'listening on http://127.0.0.1:80'; echo 80; exec sleep 60").start();
        assert_eq!(process.address().port(), 8080);
        process.pause();
        process.resume();
        process.terminate();
        assert_eq!(process.wait().code(), None, "it was ended by a signal");
    }

    #[test]
    fn a_dropped_process_and_its_files_are_gone() {
        let process = shell("exec sleep 60").spawn();
        let (id, directory) = (process.id(), process.directory.file(""));
        assert!(directory.exists());
        drop(process);
        assert!(!directory.exists());
        assert!(!shell(&format!("kill -0 {id}")).run().status.success());
    }

    #[test]
    #[should_panic(expected = "does not listen")]
    fn a_program_that_ends_does_not_listen() {
        shell("exit 0").start();
    }

    #[test]
    #[should_panic(expected = "no-such-program cannot be started: ")]
    fn a_missing_program_is_named() {
        Program::new("no-such-program").run();
    }

    #[test]
    fn writes_to_a_broken_stdout_fail() {
        let output = shell("sleep 0.1; trap '' PIPE; echo lost || exit 7")
            .with_broken_stdout()
            .run();
        assert_eq!(output.status.code(), Some(7));
    }
}
