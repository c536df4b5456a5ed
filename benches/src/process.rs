//! What `/proc` says of a process: its memory, its time; and its end.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// In `/proc/<pid>/stat`: USER_HZ is 100 wherever Linux has a stable interface to tell it by.
const TICK: Duration = Duration::from_millis(10);
/// A daemon ends within 10 s.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at one that is to end.
const LOOK: Duration = Duration::from_millis(5);

/// Memory of one process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Written to, and nobody else's.
    pub private_dirty_kib: u64,
    /// Read from a file that nobody else has mapped; the kernel may drop it.
    pub private_clean_kib: u64,
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
        Ok(Self {
            private_dirty_kib: value("Private_Dirty:")?,
            private_clean_kib: value("Private_Clean:")?,
            resident_kib: value("Rss:")?,
        })
    }

    /// Nobody else's, written to or not.
    #[must_use]
    pub const fn private_kib(&self) -> u64 {
        self.private_dirty_kib + self.private_clean_kib
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

/// Sends a signal to a process, which may be gone already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// SIGTERM, and SIGKILL when that takes longer than a daemon may take; whether it did not.
pub fn end(child: &mut Child) -> bool {
    signal(child.id(), Signal::TERM);
    let mut waited = Duration::ZERO;
    while waited < END_PATIENCE {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}
