use core::time::Duration;
use std::fs;
use std::io;
use std::process::{self, Command, ExitStatus};

use crate::testing::wait::{TIMEOUT, holds_within};

/// A child process. It is killed when it is dropped, even if it is stopped.
#[derive(Debug)]
pub(in crate::testing) struct Child(process::Child);

impl Child {
    pub(in crate::testing) fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(in crate::testing) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Stops the process (SIGSTOP), and returns after it has stopped.
    #[track_caller]
    pub(in crate::testing) fn pause(&self) {
        self.signal("STOP");
        assert!(
            holds_within(TIMEOUT, || self.is_stopped() != Some(false)),
            "process {} is still running after SIGSTOP",
            self.id()
        );
    }

    /// Continues the process (SIGCONT), and returns after it has continued.
    #[track_caller]
    pub(in crate::testing) fn resume(&self) {
        self.signal("CONT");
        assert!(
            holds_within(TIMEOUT, || self.is_stopped() != Some(true)),
            "process {} is still stopped after SIGCONT",
            self.id()
        );
    }

    /// Sends a signal, such as `TERM`, with the shell's built-in `kill`, because the program `kill`
    /// may be missing.
    #[track_caller]
    pub(in crate::testing) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "'{kill}' failed"
        );
    }

    /// Kills the process (SIGKILL), and returns after it has ended. Does nothing if it has ended
    /// already.
    pub(in crate::testing) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(in crate::testing) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits until the process ends. Returns `None` if the process still runs after the limit.
    pub(in crate::testing) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        holds_within(limit, || self.has_ended())
            .then(|| self.0.wait().expect("a child of this process"))
    }

    /// Closes the reading end of the process's standard output, if this is a pipe. From then on,
    /// writes to the standard output fail.
    pub(super) fn close_stdout(&mut self) {
        drop(self.0.stdout.take());
    }

    /// Returns whether the process is stopped; `None` on systems without `/proc`.
    fn is_stopped(&self) -> Option<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        // The name of the program is in parentheses, and may contain spaces and parentheses itself.
        let (_, after_name) = stat.rsplit_once(')')?;
        Some(after_name.trim_start().starts_with('T'))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
