//! The Redis and the files that all instances of a test share.

use core::time::Duration;
use std::fs;
use std::path::Path;

use aplomb::testing::{PostgresServer, RedisServer, Reply as RedisReply, eventually};
use tempfile::TempDir;

use crate::instance::{Instance, Settings};

/// A Redis server, and the file to which every run of a handler appends a line.
pub(crate) struct Deployment {
    pub(crate) redis: RedisServer,
    directory: TempDir,
}

impl Deployment {
    pub(crate) fn start() -> Self {
        let directory = TempDir::with_prefix("aplomb-faults-").expect("a temporary directory");
        Self {
            redis: RedisServer::start(),
            directory,
        }
    }

    /// Starts an instance with the default lease of 30 s. It is longer than a test, so a key that
    /// stays blocked fails the test.
    pub(crate) fn instance(&self, name: &str) -> Instance {
        self.instance_with(name, &[])
    }

    /// Starts an instance with a lease of 3 s.
    pub(crate) fn instance_with_short_lease(&self, name: &str) -> Instance {
        self.instance_with(name, &[("APLOMB_LEASE", SHORT)])
    }

    pub(crate) fn instance_with(&self, name: &str, settings: &[(&str, &str)]) -> Instance {
        self.settings(name).with(settings).start()
    }

    /// Returns the settings of an instance that is not started yet.
    pub(crate) fn settings(&self, name: &str) -> Settings {
        Settings::new(self.directory.path(), name).with(&[("APLOMB_STORE", &self.redis.url())])
    }

    /// Returns the settings of instances that share a SQLite file, with a lease of 3 s.
    pub(crate) fn sqlite(&self) -> [(&'static str, String); 2] {
        let file = self.directory.path().join("store.db");
        with_store(format!("sqlite:{}", file.display()))
    }

    /// Returns the number of runs of this item.
    pub(crate) fn runs(&self, item: &str) -> usize {
        let runs = fs::read_to_string(self.directory.path().join(RUNS)).unwrap_or_default();
        runs.lines().filter(|line| *line == item).count()
    }

    /// Waits until this number of runs of an item has started.
    pub(crate) async fn until_run(&self, item: &str, times: usize) {
        eventually("the handler runs", async || self.runs(item) >= times).await;
        assert_eq!(self.runs(item), times, "runs of {item}");
    }

    /// Returns the Redis keys of the records.
    pub(crate) fn records(&self) -> Vec<String> {
        self.keys("*:i:*")
    }

    /// Returns the Redis keys that match this pattern.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let RedisReply::Array(keys) = self.redis.command(&["KEYS", pattern]) else {
            panic!("no list of keys")
        };
        let text = |key: &RedisReply| match key {
            RedisReply::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no key: {other:?}"),
        };
        keys.iter().map(text).collect()
    }
}

/// Returns the settings of instances that share a PostgreSQL database, with a lease of 3 s.
pub(crate) fn postgres(server: &PostgresServer) -> [(&'static str, String); 2] {
    with_store(server.url())
}

fn with_store(url: String) -> [(&'static str, String); 2] {
    [("APLOMB_STORE", url), ("APLOMB_LEASE", SHORT.to_owned())]
}

/// Returns the path of the file of runs.
pub(crate) fn runs(directory: &Path) -> String {
    directory.join(RUNS).to_str().expect("UTF-8").to_owned()
}

const RUNS: &str = "runs";

/// The lease in tests that wait until it lapses. Three seconds are long enough to renew it on a
/// slow machine.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
const SHORT: &str = "3s";
