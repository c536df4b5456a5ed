//! What a task may use, in the kernel's units.

use std::io;
use std::path::Path;

use mete_agent_core::task_dir::CgroupPlan;

use super::disks;
use super::files::write;
use super::{CgroupError, Limits, MIN_MEMORY_BYTES, Options, SHARES_PER_CPU};

/// The fewest shares the kernel takes.
const MIN_SHARES: u64 = 2;

/// The period of a CPU quota (Mesos: 100 ms), in microseconds.
const QUOTA_PERIOD_US: u64 = 100_000;

/// The shortest quota the kernel takes, in microseconds.
const MIN_QUOTA_US: u64 = 1_000;

/// Sets the limits of a plan whose groups are there.
pub(super) fn set(options: &Options, plan: &CgroupPlan, limits: Limits) -> Result<(), CgroupError> {
    let shares = (limits.cpus_milli.saturating_mul(SHARES_PER_CPU) / 1_000).max(MIN_SHARES);
    let quota = limits
        .cpu_cap_milli(options.cpu_quota)
        .map(|milli| (milli.saturating_mul(QUOTA_PERIOD_US) / 1_000).max(MIN_QUOTA_US));
    let max_pids = limits
        .max_pids
        .map_or(options.max_pids, |pids| pids.min(options.max_pids));
    let (kept, most) = (
        limits.mem_bytes.max(MIN_MEMORY_BYTES),
        limits.mem_cap_bytes(),
    );
    for (controller, group) in &plan.v1 {
        let group = Path::new(group);
        match controller.as_str() {
            "cpu" => {
                write(&group.join("cpu.shares"), shares)?;
                if let Some(quota) = quota {
                    write(&group.join("cpu.cfs_period_us"), QUOTA_PERIOD_US)?;
                    write(&group.join("cpu.cfs_quota_us"), quota)?;
                }
            }
            "memory" => memory_v1(group, kept, most)?,
            "pids" => write(&group.join("pids.max"), max_pids)?,
            disks::CONTROLLER_V1 => drop(disks::weigh(group, limits.cpus_milli)?),
            _ => {}
        }
    }
    let v2 = plan.v2.as_deref().map(Path::new);
    for (group, controller) in v2
        .into_iter()
        .flat_map(|v2| plan.v2_controllers.iter().map(move |name| (v2, name)))
    {
        match controller.as_str() {
            "cpu" => {
                write(&group.join("cpu.weight"), weight(shares))?;
                if let Some(quota) = quota {
                    write(&group.join("cpu.max"), format!("{quota} {QUOTA_PERIOD_US}"))?;
                }
            }
            "memory" => memory_v2(group, kept, most)?,
            "pids" => write(&group.join("pids.max"), max_pids)?,
            disks::CONTROLLER_V2 => drop(disks::weigh(group, limits.cpus_milli)?),
            _ => {}
        }
    }
    Ok(())
}

/// Keeps so much memory for a group and gives it no more than `most`, swap included. The kernel takes no limit that is above
/// the one with swap, so that one goes first when there is to be more than before: when it was refused, which it never is in a
/// group that has just been made.
fn memory_v1(group: &Path, kept: u64, most: Option<u64>) -> Result<(), CgroupError> {
    write(&group.join("memory.soft_limit_in_bytes"), kept)?;
    let Some(most) = most else { return Ok(()) };
    let without_swap = group.join("memory.limit_in_bytes");
    // The file is missing where the kernel does not count swap.
    let with_swap = group.join("memory.memsw.limit_in_bytes");
    match write(&without_swap, most) {
        Ok(()) => match write(&with_swap, most) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        },
        Err(refused) => {
            write(&with_swap, most).map_err(|_| refused)?;
            write(&without_swap, most)
        }
    }
}

/// The same, without swap.
fn memory_v2(group: &Path, kept: u64, most: Option<u64>) -> Result<(), CgroupError> {
    write(&group.join("memory.low"), kept)?;
    if let Some(most) = most {
        write(&group.join("memory.max"), most)?;
    }
    let swap = group.join("memory.swap.max");
    if swap.exists() {
        write(&swap, 0)?;
    }
    // A task dies as a whole: a server without its worker is of no use.
    write(&group.join("memory.oom.group"), 1)
}

/// Shares (2 to 262,144) as weight (1 to 10,000), the way container runtimes do it.
pub(super) const fn weight(shares: u64) -> u64 {
    let shares = if shares > 262_144 { 262_144 } else { shares };
    1 + (shares.saturating_sub(2) * 9_999) / 262_142
}
