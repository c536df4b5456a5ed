//! The groups of one task while it runs and when it ends: who is in them, how they are killed and removed.

use std::path::Path;
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::session::SESSION_GROUP;
use mete_agent_core::task_dir::{CgroupPlan, Process};
use rustix::process::Signal;

use super::CgroupError;
use super::files::{self, write};
use crate::processes;

/// How often a group that is still busy is tried again: a process that has just been killed leaves
/// its group within milliseconds, on a loaded machine within some hundred. 100 tries are 2 s.
const REMOVE_TRIES: u32 = 100;

/// Pause between two tries.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

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

/// As [`kill`], for groups of which each may have processes of its own.
pub fn kill_each(plan: &CgroupPlan) -> usize {
    let alone = plan.v1.iter().map(|(controller, group)| CgroupPlan {
        v1: [(controller.clone(), group.clone())].into(),
        ..CgroupPlan::default()
    });
    let left = kill(plan);
    alone.map(|plan| kill(&plan)).sum::<usize>().max(left)
}

/// Kills and removes the groups of sessions inside those of a task; how many had processes. Blocks.
pub fn end_sessions(plan: &CgroupPlan) -> usize {
    let (group, is_v2) = match (&plan.v2, plan.v1.get("freezer")) {
        (Some(group), _) => (group, true),
        (None, Some(group)) => (group, false),
        (None, None) => return 0,
    };
    let is_session = |name: &String| {
        let number = name.strip_prefix(SESSION_GROUP);
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let mut ended = 0;
    for name in files::subgroups(Path::new(group)).filter(is_session) {
        let inside = format!("{group}/{name}");
        let its = match is_v2 {
            true => CgroupPlan {
                v2: Some(inside),
                ..CgroupPlan::default()
            },
            false => CgroupPlan {
                v1: [("freezer".to_owned(), inside)].into(),
                ..CgroupPlan::default()
            },
        };
        ended += usize::from(!members(&its).is_empty());
        kill(&its);
        // One that stays is removed with the task's.
        let _ = remove(&its);
    }
    ended
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
