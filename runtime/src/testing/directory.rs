use std::fs;
#[cfg(feature = "postgres")]
use std::path::Path;
use std::path::PathBuf;

/// A temporary directory for the files of one process. It is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("aplomb-test-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).expect("a temporary directory can be created");
        Self(path)
    }

    #[cfg(feature = "postgres")]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A test passes even if its temporary files cannot be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
