//! Measurements of a service and of its clients.

use core::time::Duration;
use std::fs;

/// Returns a number from `/proc/<pid>/status` in KiB: `VmRSS`, the memory in use, or `VmHWM`, the
/// most memory so far.
pub(crate) fn memory(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the status of a running process");
    let number = status.lines().find_map(|line| {
        let number = line.strip_prefix(field)?.strip_prefix(':')?;
        number.trim().strip_suffix(" kB")?.parse().ok()
    });
    number.expect("a number of kB")
}

pub(crate) fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}
