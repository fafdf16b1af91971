//! The programs of PostgreSQL, and the user that runs them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the directory of the server's programs: one on the `PATH`, or the newest one that Debian
/// has installed; `None` if PostgreSQL is not installed.
pub(super) fn programs() -> Option<PathBuf> {
    let has_program = |directory: &PathBuf, name| directory.join(name).is_file();
    let has_server = |directory: &PathBuf| {
        has_program(directory, "initdb") && has_program(directory, "postgres")
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(has_server);
    let directory = on_path.or_else(|| debian_programs().filter(has_server))?;
    // The server looks for its other files beside the program, and not beside a link to it.
    let server = fs::canonicalize(directory.join("postgres")).ok()?;
    server.parent().map(Path::to_owned)
}

/// Returns the directory of the newest version. Debian does not add it to the `PATH`.
fn debian_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| version(entry.ok()?)).max()?;
    Some(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")))
}

/// Returns a command that runs a program as the owner of a server: as this user, or as the user
/// `postgres` if this user is root. `directory` is a directory that this process has created.
pub(super) fn as_owner(program: &Path, directory: &Path) -> Command {
    let is_root = fs::metadata(directory).is_ok_and(|directory| directory.uid() == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg("--")
        .arg(program);
    command
}
