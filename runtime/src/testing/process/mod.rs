//! Programs that run as processes of a test.

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
use super::wait::{TIMEOUT, holds_within};

/// A program to start, with its arguments and its environment.
///
/// The program inherits the environment of the test, except `RUST_LOG` and the variables of Aplomb
/// (`APLOMB_…`). `APLOMB_ADDR` is `127.0.0.1:0`, so a service listens on a free port. Standard
/// input is empty.
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
    has_broken_stdout: bool,
}

/// A running [`Program`]. It is killed when it is dropped, so a failed test leaves no process
/// behind. If the test has failed, the standard error of the process is printed as well.
///
/// Methods block the thread. They panic if the process does not react within 20 seconds.
#[derive(Debug)]
pub struct Process {
    // Fields are dropped in this order: the process must have ended before its directory is
    // removed.
    child: Child,
    directory: Directory,
    name: OsString,
    address: Option<SocketAddr>,
}

impl Program {
    /// Describes the program at this path, or with this name on the `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for (name, _) in
            env::vars_os().filter(|(name, _)| is_aplomb_variable(&name.to_string_lossy()))
        {
            command.env_remove(name);
        }
        command
            .env("APLOMB_ADDR", "127.0.0.1:0")
            .stdin(Stdio::null());
        Self {
            command,
            has_broken_stdout: false,
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

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets environment variables, given as pairs of name and value.
    pub fn envs<'a>(mut self, variables: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Self {
        self.command.envs(variables.into_iter().copied());
        self
    }

    /// Removes an environment variable.
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the working directory.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Makes every write of the program to its standard output fail, as in `program | true`.
    pub const fn with_broken_stdout(mut self) -> Self {
        self.has_broken_stdout = true;
        self
    }

    /// Starts the program, and returns after it has written `listening on http://<address>` to its
    /// standard output, as [`serve`](crate::serve()) does.
    ///
    /// # Panics
    ///
    /// Panics if the program cannot be started, ends early, or does not write this line within 20
    /// seconds.
    #[track_caller]
    pub fn start(self) -> Process {
        let mut process = self.spawn();
        let started = holds_within(TIMEOUT, || {
            process.address = parse_address(&process.stdout());
            process.address.is_some() || process.child.has_ended()
        });
        assert!(
            started && process.address.is_some(),
            "{} did not write 'listening on http://<address>'",
            process.name.display()
        );
        process
    }

    /// Starts the program, and returns immediately.
    ///
    /// # Panics
    ///
    /// Panics if the program cannot be started.
    #[track_caller]
    pub fn spawn(mut self) -> Process {
        let directory = Directory::new();
        let file =
            |name| File::create(directory.file(name)).expect("a temporary directory is writable");
        self.command.stderr(file(STDERR));
        self.command.stdout(if self.has_broken_stdout {
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

    /// Starts the program, waits until it ends, and returns its status and its output.
    ///
    /// # Panics
    ///
    /// Panics if the program cannot be started, or does not end within ten minutes.
    #[track_caller]
    pub fn run(self) -> Output {
        let mut process = self.spawn();
        let Some(status) = process.child.wait(RUN_TIMEOUT) else {
            panic!(
                "{} did not end within {RUN_TIMEOUT:?}",
                process.name.display()
            )
        };
        Output {
            status,
            stdout: process.read(STDOUT),
            stderr: process.read(STDERR),
        }
    }
}

impl Process {
    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the address that the process listens on.
    ///
    /// # Panics
    ///
    /// Panics if the process was not started with [`Program::start`].
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address
            .expect("only `Program::start` waits for the address")
    }

    /// Returns a client of the process.
    ///
    /// # Panics
    ///
    /// Panics if the process was not started with [`Program::start`].
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// Returns the standard output of the process so far. Bytes that are not UTF-8 are replaced.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.read(STDOUT)).into_owned()
    }

    /// Returns the standard error of the process so far. Bytes that are not UTF-8 are replaced.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.read(STDERR)).into_owned()
    }

    /// Stops the process (SIGSTOP), and returns after it has stopped. Its connections stay open.
    #[track_caller]
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Continues the stopped process (SIGCONT).
    #[track_caller]
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Sends SIGTERM, and returns immediately. A service then shuts down gracefully.
    #[track_caller]
    pub fn terminate(&self) {
        self.child.signal("TERM");
    }

    /// Kills the process (SIGKILL), and returns after it has ended.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Waits until the process ends, and returns its exit status.
    ///
    /// # Panics
    ///
    /// Panics if the process does not end within a minute.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait(END_TIMEOUT);
        status
            .unwrap_or_else(|| panic!("{} did not end within {END_TIMEOUT:?}", self.name.display()))
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

fn is_aplomb_variable(name: &str) -> bool {
    name.starts_with("APLOMB_") || name == "RUST_LOG"
}

/// Returns the address in the first complete line with an address. An incomplete last line is
/// ignored, because it may be cut in the middle of its port.
fn parse_address(stdout: &str) -> Option<SocketAddr> {
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

/// The time limit of [`Program::run`]. It is longer than a compiler takes for a small program on a
/// slow machine.
const RUN_TIMEOUT: Duration = Duration::from_mins(10);

/// The time limit of [`Process::wait`]. It is longer than the default grace period of a service at
/// shutdown.
const END_TIMEOUT: Duration = Duration::from_mins(1);

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
    fn start_waits_for_the_complete_line_with_the_address() {
        let mut process =
            shell("printf 'listening on http://127.0.0.1:80'; echo 80; exec sleep 60").start();
        assert_eq!(process.address().port(), 8080);
        process.pause();
        process.resume();
        process.terminate();
        assert_eq!(process.wait().code(), None, "a signal ended the process");
    }

    #[test]
    fn a_dropped_process_is_killed_and_its_files_are_removed() {
        let process = shell("exec sleep 60").spawn();
        let (id, directory) = (process.id(), process.directory.file(""));
        assert!(directory.exists());
        drop(process);
        assert!(!directory.exists());
        assert!(!shell(&format!("kill -0 {id}")).run().status.success());
    }

    #[test]
    #[should_panic(expected = "did not write 'listening on http://<address>'")]
    fn a_program_that_ends_early_cannot_be_started() {
        shell("exit 0").start();
    }

    #[test]
    #[should_panic(expected = "no-such-program cannot be started: ")]
    fn a_missing_program_is_named_in_the_panic() {
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
