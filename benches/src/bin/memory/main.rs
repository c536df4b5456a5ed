//! What the allocator and the master's state take of memory: live bytes on the heap, counted exactly by the process itself.
//!
//! ```text
//! cargo run --release -p mete-benches --bin memory -- [--json]
//! ```
//! Two clusters, as Mesos' own allocator was measured: 10,000 agents and 1,000 frameworks in roles of their own
//! after a round that gave everything away; and 10,000 agents of which each of 50 frameworks has declined every
//! one. Names of agents and frameworks count as far as the allocator keeps them. Then the whole state of a master with
//! 10,000 agents and 100,000 tasks, see `state`.

mod state;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use mete_benches::cluster::{Cluster, NOON, Roles};
use mete_benches::mesos;
use mete_placement::Allocator;
use peak_alloc::PeakAlloc;
use serde_json::json;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const AGENTS: usize = 10_000;
const ROLES: usize = 1_000;
const DECLINING: usize = 50;

/// Measures the allocator's memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Bytes that 10,000 agents and 1,000 roles take.
struct Full {
    /// After setup and a round that gave everything.
    bytes: usize,
    /// At most until then: the offers of that round are in it.
    peak_bytes: usize,
    /// Memory of the whole process that is in use, which is the heap with its gaps and the program.
    resident_bytes: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let full = full()?;
    let per_filter = bytes_per_filter()?;
    let state = state::state(AGENTS)?;
    let mebibytes = |bytes: usize| (bytes as f64 / f64::from(1 << 20) * 100.0).round() / 100.0;
    let (mib, peak_mib) = (mebibytes(full.bytes), mebibytes(full.peak_bytes));
    let resident_mib = mebibytes(full.resident_bytes);
    let filters = AGENTS * DECLINING;
    if arguments.json {
        let answer = json!({
            "agents": AGENTS,
            "roles": ROLES,
            "frameworks": ROLES,
            "mib": mib,
            "peak_mib": peak_mib,
            "resident_mib": resident_mib,
            "filters": filters,
            "bytes_per_filter": per_filter,
            "state_bytes_per_agent": state.per_agent,
            "state_bytes_per_task": state.per_task,
        });
        println!("{answer}");
    } else {
        println!("{AGENTS} agents, {ROLES} roles, a framework in each, everything on offer:");
        println!("  {mib} MiB, {peak_mib} at most, {resident_mib} resident in the process");
        println!("{filters} filters: {per_filter} bytes each");
        println!(
            "a master's state: {} bytes an agent, {} a task",
            state.per_agent, state.per_task
        );
    }
    Ok(())
}

fn full() -> Result<Full> {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let mut cluster = mesos::free(AGENTS, ROLES, Roles::Own);
    let given = cluster.give_away(NOON).len();
    ensure!(given == AGENTS, "{given} agents of {AGENTS} were given");
    let allocator: Allocator = cluster.allocator;
    // The lists of names belong to the measurement.
    drop((cluster.agents, cluster.frameworks));
    let full = Full {
        bytes: HEAP.current_usage().saturating_sub(before),
        peak_bytes: HEAP.peak_usage().saturating_sub(before),
        resident_bytes: resident_bytes()?,
    };
    drop(allocator);
    Ok(full)
}

/// What comes on top when each framework has declined each agent, for good.
fn bytes_per_filter() -> Result<f64> {
    let mut cluster: Cluster = mesos::mostly_used(AGENTS, DECLINING);
    // One round before: what rounds keep for the next one is not the filters'.
    let offers = cluster.give_away(NOON);
    cluster.decline(NOON, &[offers], std::time::Duration::ZERO);
    let before = HEAP.current_usage();
    loop {
        let offers = cluster.give_away(NOON);
        if offers.is_empty() {
            break;
        }
        cluster.decline(NOON, &[offers], mesos::FOREVER);
    }
    let filters = cluster.allocator.filters();
    ensure!(filters == AGENTS * DECLINING, "{filters} filters were set");
    let bytes = HEAP.current_usage().saturating_sub(before);
    Ok((bytes as f64 / filters as f64 * 10.0).round() / 10.0)
}

/// `VmHWM` of this process.
fn resident_bytes() -> Result<usize> {
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .context("no VmHWM in /proc/self/status")?;
    let kilobytes: usize = kilobytes.trim().parse().context("VmHWM is no number")?;
    Ok(kilobytes * 1_024)
}
