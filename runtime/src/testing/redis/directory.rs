use std::fs;
use std::path::{Path, PathBuf};

use crate::testing::directory::Directory;

/// A temporary directory for one server, removed when dropped: its data, and its log beside.
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
        directory.make_data();
        directory
    }

    /// Where the server runs, and keeps its data.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// What the server says.
    pub(super) fn log(&self) -> PathBuf {
        self.root.file("log")
    }

    /// The last lines of the log.
    pub(super) fn end_of_log(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Removes the data.
    pub(super) fn wipe(&self) {
        fs::remove_dir_all(&self.data).expect("the data can be removed");
        self.make_data();
    }

    fn make_data(&self) {
        fs::create_dir(&self.data).expect("a temporary directory is writable");
    }
}

/// So many lines of a log are shown.
const LINES: usize = 20;
