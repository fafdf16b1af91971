//! A process of the service.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use aplomb::testing::{Client, ClientResponse, Process, Program};
use tokio::task::JoinHandle;

use crate::client::Order;
use crate::deployment::runs;
use crate::measure;

/// A running instance.
pub(crate) struct Instance {
    process: Process,
    /// The client of the instance. Every request uses a new connection.
    pub(crate) client: Client,
    gates: PathBuf,
}

/// The settings of an instance.
pub(crate) struct Settings {
    program: Program,
    gates: PathBuf,
}

/// A request in the background.
pub(crate) struct Pending(JoinHandle<Option<ClientResponse>>);

impl Settings {
    /// Returns the settings of an instance with this name. A gate is a file that releases the held
    /// runs of one item. The gates of a name survive restarts of its instance.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let gates = directory.join(name);
        fs::create_dir_all(&gates).expect("a directory for the gates");
        let program = Program::new(env!("CARGO_BIN_EXE_aplomb-process-tests"));
        let program = program
            .env("GATES", &gates)
            .env("RUNS", runs(directory))
            .envs(&[
                ("APLOMB_API_KEYS", "alice:sk_test_alice"),
                ("APLOMB_SECRET", "a secret for tests, of 32 bytes or more"),
                ("TOKIO_WORKER_THREADS", "2"),
            ]);
        Self { program, gates }
    }

    pub(crate) fn with(self, settings: &[(&str, &str)]) -> Self {
        Self {
            program: self.program.envs(settings),
            ..self
        }
    }

    /// Removes a variable of the default settings.
    pub(crate) fn without(self, name: &str) -> Self {
        Self {
            program: self.program.without_env(name),
            ..self
        }
    }

    /// Runs a command instead of the service.
    pub(crate) fn command(self, arguments: &[&str]) -> Self {
        Self {
            program: self.program.args(arguments),
            ..self
        }
    }

    /// Starts the instance, and returns as soon as it listens.
    pub(crate) fn start(self) -> Instance {
        let process = self.program.start();
        Instance {
            client: process.client().without_reuse(),
            process,
            gates: self.gates,
        }
    }

    /// Runs the program until it ends.
    pub(crate) fn run(self) -> Output {
        self.program.run()
    }
}

impl Instance {
    pub(crate) async fn send(&self, order: &Order) -> ClientResponse {
        order.send(&self.client).await.expect("a response")
    }

    /// Repeats the request while the response is retryable.
    pub(crate) async fn retry(&self, order: &Order) -> ClientResponse {
        order.retry(&self.client).await.expect("a response")
    }

    /// Sends the request in the background.
    pub(crate) fn send_in_background(&self, order: &Order) -> Pending {
        let (client, order) = (self.client.clone(), order.clone());
        Pending(tokio::spawn(async move { order.send(&client).await }))
    }

    /// Repeats the request in the background while the response is retryable.
    pub(crate) fn retry_in_background(&self, order: &Order) -> Pending {
        let (client, order) = (self.client.clone(), order.clone());
        Pending(tokio::spawn(async move { order.retry(&client).await }))
    }

    /// Releases the current and later runs of this item at this instance.
    pub(crate) fn release(&self, item: &str) {
        File::create(self.gates.join(item)).expect("the gate is created");
    }

    /// Kills the process, and returns when it has ended.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Suspends the process with SIGSTOP, and returns when it is suspended.
    pub(crate) fn pause(&self) {
        self.process.pause();
    }

    /// Resumes the process.
    pub(crate) fn resume(&self) {
        self.process.resume();
    }

    /// Sends SIGTERM, and returns when the process accepts no more connections.
    pub(crate) async fn terminate(&self) {
        self.process.terminate();
        self.client.until_refused().await;
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Returns the memory in KiB of a field of `/proc/<pid>/status`.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        measure::memory(self.process.id(), field)
    }

    /// Returns the log output up to now.
    pub(crate) fn log(&self) -> String {
        self.process.stderr()
    }
}

impl Pending {
    pub(crate) async fn response(self) -> ClientResponse {
        self.0.await.expect("no panic").expect("a response")
    }

    /// Returns whether the connection ends without a response.
    pub(crate) async fn ends_without_response(self) -> bool {
        self.0.await.expect("no panic").is_none()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
