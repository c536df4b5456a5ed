//! Memory that a process has to itself, and the CPU time it takes for doing nothing.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use crate::cluster::{Cluster, Process};
use crate::report::{Report, Row};

/// Before a daemon counts as idle.
const REST: Duration = Duration::from_secs(5);
/// How long its CPU time is watched; one tick is 0.1 % of it.
const WATCH: Duration = Duration::from_secs(10);
/// In `/proc/<pid>/stat`: USER_HZ is 100 wherever Linux has a stable interface to tell it by.
const TICK_MS: u64 = 10;
/// A median of fewer shims says little.
const MIN_SHIMS: usize = 5;

/// Each idle daemon.
pub(crate) async fn daemons(
    cluster: &Cluster,
    when: &'static str,
    report: &mut Report,
) -> Result<()> {
    sleep(REST).await;
    let daemons = cluster.daemons()?;
    let before: Vec<u64> = daemons
        .iter()
        .map(|(_, pid)| cpu_ms(*pid))
        .collect::<Result<_>>()?;
    sleep(WATCH).await;
    for ((name, pid), before) in daemons.into_iter().zip(before) {
        let spent = cpu_ms(pid)?.saturating_sub(before);
        report.process(Row {
            process: name,
            when,
            count: 1,
            memory: Memory::of(pid)?,
            cpu_ms_in_10_s: Some(spent),
        });
    }
    Ok(())
}

/// The median over all shims that run.
pub(crate) fn shims(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let is_shim = |process: &&Process| process.arguments.get(1).is_some_and(|word| word == "shim");
    let processes = cluster.processes();
    let shims: Vec<Memory> = processes
        .iter()
        .filter(is_shim)
        .map(|process| Memory::of(process.pid))
        .collect::<Result<_>>()?;
    ensure!(shims.len() >= MIN_SHIMS, "only {} shims run", shims.len());
    let median = |of: fn(&Memory) -> u64| {
        let mut all: Vec<u64> = shims.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    report.process(Row {
        process: "shim (median)".to_owned(),
        when: "its task sleeps",
        count: shims.len(),
        memory: Memory {
            private_dirty_kib: median(|shim| shim.private_dirty_kib),
            private_clean_kib: median(|shim| shim.private_clean_kib),
            resident_kib: median(|shim| shim.resident_kib),
        },
        cpu_ms_in_10_s: None,
    });
    Ok(())
}

/// Of one process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Written to, and nobody else's.
    pub(crate) private_dirty_kib: u64,
    /// Read from a file that nobody else has mapped; the kernel may drop it.
    pub(crate) private_clean_kib: u64,
    /// All that is in memory, what is shared included.
    pub(crate) resident_kib: u64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix("kB"));
            let number = number.and_then(|number| number.trim().parse().ok());
            number.with_context(|| format!("no {name} in {path}"))
        };
        Ok(Self {
            private_dirty_kib: value("Private_Dirty:")?,
            private_clean_kib: value("Private_Clean:")?,
            resident_kib: value("Rss:")?,
        })
    }
}

/// User and system time of a process so far, all its threads together.
fn cpu_ms(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th word behind it.
    let behind = text.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|word| word.parse().unwrap_or(0_u64)).sum();
    Ok(ticks * TICK_MS)
}
