//! The groups of one task while it runs and when it ends: who is in them, what they use, how they are
//! killed and removed.

use std::path::Path;
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::{CgroupPlan, Process};
use rustix::process::Signal;

use super::CgroupError;
use super::files::{self, number, stat_line, write};
use crate::processes;

/// How often a group that is still busy is tried again: a process that has just been killed leaves
/// its group within milliseconds, on a loaded machine within some hundred. 100 tries are 2 s.
const REMOVE_TRIES: u32 = 100;

/// Pause between two tries.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// What a task has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds; `None`: not known here.
    pub cpu_ns: Option<u64>,
    /// Memory that counts against the limit, in bytes.
    pub mem_bytes: Option<u64>,
    /// Of it what no file backs, in bytes.
    pub mem_rss_bytes: Option<u64>,
    /// The limit in bytes; `None`: there is none.
    pub mem_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// The processes in the groups of a plan.
pub fn members(plan: &CgroupPlan) -> Vec<Process> {
    let group = plan
        .v2
        .as_ref()
        .or_else(|| plan.v1.get("freezer"))
        .or_else(|| plan.v1.values().next());
    let Some(group) = group else {
        return Vec::new();
    };
    let mut pids = Vec::new();
    files::members_below(Path::new(group), &mut pids);
    pids.into_iter()
        .filter_map(processes::stat)
        .map(|stat| stat.process)
        .collect()
}

/// Sends a signal to every process of a plan, once.
pub fn signal(plan: &CgroupPlan, signal: Signal) {
    let before = members(plan);
    // Who is listed twice with the same start time was in the group when it was named.
    for process in members(plan) {
        if before.contains(&process) {
            processes::signal(process, signal);
        }
    }
}

/// Kills every process of a plan and waits, up to 5 s, until they are gone; returns how many are
/// left. Blocks.
pub fn kill(plan: &CgroupPlan) -> usize {
    if plan.is_empty() {
        return 0;
    }
    let at_once = plan
        .kill_file()
        .is_some_and(|file| write(Path::new(&file), 1).is_ok());
    let freezer = plan
        .v1
        .get("freezer")
        .filter(|_| !at_once)
        .map(|group| Path::new(group).join("freezer.state"));
    let freeze = |state: &str| freezer.as_ref().map(|file| write(file, state));
    processes::kill_until_gone(|| {
        // Frozen, a fork bomb holds still while its members are named; they die when thawed.
        freeze("FROZEN");
        let members = members(plan);
        for process in &members {
            processes::signal(*process, Signal::KILL);
        }
        freeze("THAWED");
        members
    })
}

/// Removes the groups of a plan, groups inside them included. Blocks for up to 2 s while a process
/// is still leaving.
///
/// # Errors
/// [`CgroupError`] names the group that is still busy.
pub fn remove(plan: &CgroupPlan) -> Result<(), CgroupError> {
    plan.directories().into_iter().try_for_each(|group| {
        let group = Path::new(group);
        for _ in 1..REMOVE_TRIES {
            if files::remove_group(group).is_ok() {
                return Ok(());
            }
            thread::sleep(REMOVE_PAUSE);
        }
        files::remove_group(group).map_err(|source| CgroupError {
            path: group.to_owned(),
            source,
        })
    })
}

/// What the groups of a plan have used.
pub fn usage(plan: &CgroupPlan) -> Usage {
    let v1 = |controller: &str, file: &str| number(&Path::new(plan.v1.get(controller)?).join(file));
    let v2 = |file: &str| number(&Path::new(plan.v2.as_ref()?).join(file));
    let v2_line =
        |file: &str, name: &str| stat_line(&Path::new(plan.v2.as_ref()?).join(file), name);
    let memory_stat =
        |name: &str| stat_line(&Path::new(plan.v1.get("memory")?).join("memory.stat"), name);
    Usage {
        cpu_ns: v1("cpuacct", "cpuacct.usage")
            .or_else(|| v2_line("cpu.stat", "usage_usec").map(|us| us.saturating_mul(1_000))),
        mem_bytes: v1("memory", "memory.usage_in_bytes").or_else(|| v2("memory.current")),
        mem_rss_bytes: memory_stat("total_rss").or_else(|| v2_line("memory.stat", "anon")),
        mem_limit_bytes: v1("memory", "memory.limit_in_bytes").or_else(|| v2("memory.max")),
        pids: v1("pids", "pids.current").or_else(|| v2("pids.current")),
    }
}
