use core::time::Duration;
use std::fs;
use std::io;
use std::process::{self, Command, ExitStatus};

use crate::testing::wait::{PATIENCE, holds_within};

/// A process that is killed when it is dropped, whatever state it is in.
#[derive(Debug)]
pub(in crate::testing) struct Child(process::Child);

impl Child {
    pub(in crate::testing) fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(in crate::testing) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Stops it (SIGSTOP), and returns once it has stopped.
    #[track_caller]
    pub(in crate::testing) fn pause(&self) {
        self.signal("STOP");
        assert!(
            holds_within(PATIENCE, || self.is_stopped() != Some(false)),
            "process {} did not stop",
            self.id()
        );
    }

    /// Continues it (SIGCONT), and returns once it runs.
    #[track_caller]
    pub(in crate::testing) fn resume(&self) {
        self.signal("CONT");
        assert!(
            holds_within(PATIENCE, || self.is_stopped() != Some(true)),
            "process {} stays stopped",
            self.id()
        );
    }

    /// Sends a signal. Every shell has `kill`, while the program of that name may be missing.
    #[track_caller]
    pub(in crate::testing) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "'{kill}' failed"
        );
    }

    /// Kills it (SIGKILL), and returns once it has ended. It may have ended before.
    pub(in crate::testing) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(in crate::testing) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Its exit status, if it ends within the limit.
    pub(in crate::testing) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        holds_within(limit, || self.has_ended())
            .then(|| self.0.wait().expect("a child of this process"))
    }

    /// Nobody reads its standard output any more, if that is a pipe.
    pub(super) fn close_stdout(&mut self) {
        drop(self.0.stdout.take());
    }

    /// Whether it is stopped; `None` on systems without `/proc`.
    fn is_stopped(&self) -> Option<bool> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        Some(after_name.trim_start().starts_with('T'))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
