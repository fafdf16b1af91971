//! A process of the service.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use aplomb::testing::{Client, ClientResponse, Process, Program};
use tokio::task::JoinHandle;

use crate::client::Order;
use crate::deployment::runs;

/// A running instance.
pub(crate) struct Instance {
    process: Process,
    /// Every request has a connection of its own.
    pub(crate) client: Client,
    gates: PathBuf,
}

/// What an instance is started with.
pub(crate) struct Settings {
    program: Program,
    gates: PathBuf,
}

/// A request that is under way.
pub(crate) struct Pending(JoinHandle<Option<ClientResponse>>);

impl Settings {
    /// Of an instance with this name, which keeps its gates here over restarts.
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

    /// Starts it, and returns once it listens.
    pub(crate) fn start(self) -> Instance {
        let process = self.program.start();
        Instance {
            client: process.client().without_reuse(),
            process,
            gates: self.gates,
        }
    }

    /// Runs it until it ends.
    pub(crate) fn run(self) -> Output {
        self.program.run()
    }
}

impl Instance {
    pub(crate) async fn send(&self, order: &Order) -> ClientResponse {
        order.send(&self.client).await.expect("an answer")
    }

    /// Sends as often as the answer says that this helps.
    pub(crate) async fn retry(&self, order: &Order) -> ClientResponse {
        order.retry(&self.client).await.expect("an answer")
    }

    /// Sends, and goes on.
    pub(crate) fn send_in_background(&self, order: &Order) -> Pending {
        let (client, order) = (self.client.clone(), order.clone());
        Pending(tokio::spawn(async move { order.send(&client).await }))
    }

    /// Sends as often as the answer says that this helps, and goes on.
    pub(crate) fn retry_in_background(&self, order: &Order) -> Pending {
        let (client, order) = (self.client.clone(), order.clone());
        Pending(tokio::spawn(async move { order.retry(&client).await }))
    }

    /// Lets the runs of this item go on that this instance holds, or will.
    pub(crate) fn release(&self, item: &str) {
        File::create(self.gates.join(item)).expect("a gate is opened");
    }

    /// Kills it, and returns once it is gone.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Stops it as a debugger does, and returns once it stands still.
    pub(crate) fn stop(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.process.resume();
    }

    /// Asks it to end, and returns once it takes no more connections.
    pub(crate) async fn terminate(&self) {
        self.process.terminate();
        self.client.until_refused().await;
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.process.wait()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr()
    }
}

impl Pending {
    pub(crate) async fn response(self) -> ClientResponse {
        self.0.await.expect("no panic").expect("an answer")
    }

    /// Whether the connection ends without an answer.
    pub(crate) async fn is_disconnected(self) -> bool {
        self.0.await.expect("no panic").is_none()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
