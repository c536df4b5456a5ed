//! What `/proc` says of a process: its memory, its time.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// In `/proc/<pid>/stat`: USER_HZ is 100 wherever Linux has a stable interface to tell it by.
const TICK: Duration = Duration::from_millis(10);

/// Memory of one process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Nobody else's.
    pub private_kib: u64,
    /// Nobody else's, and written to.
    pub private_dirty_kib: u64,
    /// All that is in memory, what is shared included.
    pub resident_kib: u64,
}

impl Memory {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// When it is gone, or not ours to look at.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix("kB"));
            let number = number.and_then(|number| number.trim().parse::<u64>().ok());
            number.with_context(|| format!("no {name} in {path}"))
        };
        let private_dirty_kib = value("Private_Dirty:")?;
        Ok(Self {
            private_kib: private_dirty_kib + value("Private_Clean:")?,
            private_dirty_kib,
            resident_kib: value("Rss:")?,
        })
    }
}

/// User and system time of a process so far, all its threads together.
///
/// # Errors
/// When it is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th word behind it.
    let behind = text.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(|word| word.parse().unwrap_or(0)).sum();
    Ok(TICK * ticks)
}
