//! Memory that a process has to itself, and the CPU time it takes for doing nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use mete_benches::process::{Memory, cpu_time};
use tokio::time::sleep;

use crate::cluster::{Cluster, Process};
use crate::report::{Report, Row};

/// Before a daemon counts as idle.
const REST: Duration = Duration::from_secs(5);
/// How long its CPU time is watched; one tick is 0.1 % of it.
const WATCH: Duration = Duration::from_secs(10);
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
    let before: Vec<Duration> = daemons
        .iter()
        .map(|(_, pid)| cpu_time(*pid))
        .collect::<Result<_>>()?;
    sleep(WATCH).await;
    for ((name, pid), before) in daemons.into_iter().zip(before) {
        let spent = cpu_time(pid)?.saturating_sub(before);
        report.process(Row {
            process: name,
            when,
            count: 1,
            memory: Memory::of(pid)?,
            cpu_ms_in_10_s: u64::try_from(spent.as_millis()).ok(),
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
