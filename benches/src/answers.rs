//! What programs that measure say: percentiles, and the machine they were found on.

use std::fs;
use std::time::Duration;

/// The nearest rank: the least value that `percent` of all do not exceed; zero of none.
#[must_use]
pub fn percentile(took: &[Duration], percent: usize) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// What ran this, and how busy it was: figures of a machine that does other work are too high.
#[must_use]
pub fn machine_line() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(':').nth(1))
        .unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load
        .split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ");
    let kernel = read("/proc/sys/kernel/osrelease");
    // The version is enough; what follows it is the builder's.
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!(
        "{}, {cores} cores, Linux {kernel}, load {load} at the end",
        model.trim()
    )
}
