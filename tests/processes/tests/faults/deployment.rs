//! What the instances of a service share.

use core::time::Duration;
use std::fs;
use std::path::Path;

use aplomb::testing::{RedisServer, Reply as RedisReply, eventually};
use tempfile::TempDir;

use crate::instance::{Instance, Settings};

/// A Redis, and the file in which every run of a handler leaves a line.
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

    /// Starts an instance whose leases no test outlives: what it leaves blocked stays blocked.
    pub(crate) fn instance(&self, name: &str) -> Instance {
        self.instance_with(name, &[])
    }

    /// Starts an instance whose leases lapse soon.
    pub(crate) fn instance_with_short_lease(&self, name: &str) -> Instance {
        self.instance_with(name, &[("APLOMB_LEASE", SHORT)])
    }

    pub(crate) fn instance_with(&self, name: &str, settings: &[(&str, &str)]) -> Instance {
        self.settings(name).with(settings).start()
    }

    /// Of an instance that is not started yet.
    pub(crate) fn settings(&self, name: &str) -> Settings {
        Settings::new(self.directory.path(), name).with(&[("APLOMB_STORE", &self.redis.url())])
    }

    /// How many times handlers ran for this item.
    pub(crate) fn runs(&self, item: &str) -> usize {
        let runs = fs::read_to_string(self.directory.path().join(RUNS)).unwrap_or_default();
        runs.lines().filter(|line| *line == item).count()
    }

    /// Waits until handlers have run so many times for this item, or are held.
    pub(crate) async fn until_run(&self, item: &str, times: usize) {
        eventually("the handler runs", async || self.runs(item) >= times).await;
        assert_eq!(self.runs(item), times, "of {item}");
    }

    /// The keys of the records.
    pub(crate) fn records(&self) -> Vec<String> {
        self.keys("*:i:*")
    }

    /// The keys of this pattern.
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

/// The file of the runs.
pub(crate) fn runs(directory: &Path) -> String {
    directory.join(RUNS).to_str().expect("UTF-8").to_owned()
}

const RUNS: &str = "runs";

/// A lease that is waited for. Long enough for a process that gets little of its machine.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
const SHORT: &str = "3s";
