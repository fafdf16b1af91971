use std::fs;
use std::path::{Path, PathBuf};

use crate::testing::directory::Directory;

/// A temporary directory for one server, with its data and its log. It is removed when it is
/// dropped.
#[derive(Debug)]
pub(super) struct ServerDirectory {
    root: Directory,
    data: PathBuf,
}

impl ServerDirectory {
    pub(super) fn new() -> Self {
        let root = Directory::new();
        let directory = Self {
            data: root.file("data"),
            root,
        };
        directory.create_data();
        directory
    }

    /// Returns the working directory of the server, which contains its data.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the file of the server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.file("log")
    }

    /// Returns the last lines of the log.
    pub(super) fn end_of_log(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(MAX_LOG_LINES)..].join("\n")
    }

    /// Removes the data, and keeps the log.
    pub(super) fn wipe(&self) {
        fs::remove_dir_all(&self.data).expect("the data can be removed");
        self.create_data();
    }

    fn create_data(&self) {
        fs::create_dir(&self.data).expect("a temporary directory is writable");
    }
}

/// The number of log lines in an error message: enough for the reason of a failed start.
const MAX_LOG_LINES: usize = 20;
