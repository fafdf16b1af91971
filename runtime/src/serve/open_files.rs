//! The maximum number of connections, from the limit of open files.

use crate::settings;
use crate::start::StartError;

/// The default maximum number of connections.
const DEFAULT: u32 = 10_000;

/// The number of files that are kept for the connections of stores, and for files of the
/// application.
const RESERVE: u64 = 256;

/// Reads `APLOMB_MAX_CONNECTIONS`, and raises the limit of open files of this process if necessary.
///
/// # Errors
///
/// Fails if the process may not open enough files for the setting.
pub(super) fn max_connections() -> Result<usize, StartError> {
    const NAME: &str = "APLOMB_MAX_CONNECTIONS";
    let is_set = settings::variable(NAME)?.is_some();
    let wanted = settings::number(NAME, DEFAULT)?;
    let available = available(u64::from(wanted) + RESERVE);
    match connections(wanted, available) {
        fewer if is_set && fewer < wanted as usize => Err(StartError::variable(
            NAME,
            &wanted.to_string(),
            format!(
                "expected at most {fewer}, because this process may open {available} files; raise \
                 the limit, for example with `ulimit -n` or `LimitNOFILE=`"
            ),
        )),
        connections => Ok(connections),
    }
}

/// Returns the number of connections for this many open files. With very few files, half of them
/// are kept for other purposes.
fn connections(wanted: u32, available: u64) -> usize {
    let most = available - RESERVE.min(available / 2);
    usize::try_from(most).map_or(wanted as usize, |most| most.min(wanted as usize))
}

/// Raises the limit of open files to `wanted` as far as the system allows it. Returns the limit.
#[cfg(unix)]
fn available(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else {
        return limit.current.unwrap_or(u64::MAX);
    };
    let raised = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let request = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, request) {
        Ok(()) => raised,
        Err(error) => {
            tracing::debug!(%error, "cannot raise the limit of open files");
            current
        }
    }
}

/// Other systems have no limit that matters here.
#[cfg(not(unix))]
const fn available(_: u64) -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_stores() {
        assert_eq!(connections(DEFAULT, u64::MAX), 10_000);
        assert_eq!(connections(DEFAULT, 10_256), 10_000);
        assert_eq!(connections(DEFAULT, 1024), 768);
        assert_eq!(connections(DEFAULT, 100), 50);
        assert_eq!(connections(50, 1024), 50);
    }
}
