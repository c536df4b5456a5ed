//! What a command inside a container has started, and how it is ended: engines end containers, not commands.
//!
//! The command has a variable that no other has, and so has all that it starts; and what it starts is in its session, unless it
//! leaves both. Invariants: no process outside of the container is looked at; a container's own first process has no mark.

use std::sync::atomic::{AtomicU64, Ordering};

use mete_agent_core::task_dir::{CgroupPlan, EngineContainer, Process, TaskDir};
use rustix::process::Signal;

use super::container;
use crate::{cgroups, processes};

/// The variable.
const VARIABLE: &str = "METE_SESSION";

/// Characters of a container's id that are in it. Who wrote the task cannot know them, so nothing else begins like this.
const ID_CHARS: usize = 16;

/// The mark of one command.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    groups: CgroupPlan,
    variable: String,
    /// The command's first process, which leads its session; `None`: it has ended.
    leader: Option<Process>,
}

impl Mark {
    /// A new one, for a command in a container.
    pub(super) fn new(known: &EngineContainer) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            groups: known.cgroups.clone(),
            variable: format!("{}{}-{number}", beginning(known), std::process::id()),
            leader: None,
        }
    }

    /// `NAME=VALUE`.
    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// The command runs.
    pub(super) fn lead_by(&mut self, leader: Option<Process>) {
        self.leader = leader;
    }

    /// Its first process, if that was seen.
    pub(super) const fn leader(&self) -> Option<Process> {
        self.leader
    }

    /// Sends a signal to the command and its process group. Blocks for a moment.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(leader) = self.led() else { return };
        for process in cgroups::members(&self.groups) {
            let stat = processes::stat(process.pid);
            if stat.is_some_and(|now| now.process == process && now.group == leader.pid) {
                processes::signal(process, signal);
            }
        }
    }

    /// Kills the command and all that it has started; returns how many processes could not be. Blocks for up to 5 s.
    pub(super) fn kill(&self) -> usize {
        processes::kill_until_gone(|| self.members())
    }

    /// Its first process, unless another has the number by now: then nothing of its session and its group is left.
    fn led(&self) -> Option<Process> {
        let is_its = |leader: &Process| {
            let stat = processes::stat(leader.pid);
            stat.is_none_or(|now| now.process == *leader)
        };
        self.leader.filter(is_its)
    }

    fn members(&self) -> Vec<Process> {
        let leader = self.led();
        let below = leader.map(|leader| processes::descendants(leader.pid));
        let below = below.unwrap_or_default();
        let is_its = |process: &Process| {
            let in_session = leader.is_some_and(|leader| {
                let stat = processes::stat(process.pid);
                stat.is_some_and(|now| now.process == *process && now.session == leader.pid)
            });
            in_session || below.contains(process) || has(*process, |one| one == self.variable)
        };
        let mut members = cgroups::members(&self.groups);
        members.retain(is_its);
        members
    }
}

/// Ends the commands in a container whose agent has died; how many processes there were. Blocks.
pub(crate) fn end_all(dir: &TaskDir) -> usize {
    let Ok(known) = container::record(dir) else {
        return 0;
    };
    let begins = beginning(&known);
    let left = || {
        let mut members = cgroups::members(&known.cgroups);
        members.retain(|process| has(*process, |one| one.starts_with(&begins)));
        members
    };
    let before = left().len();
    processes::kill_until_gone(left);
    before
}

/// What the variables of all commands in a container begin with.
fn beginning(known: &EngineContainer) -> String {
    let id: String = known.id.chars().take(ID_CHARS).collect();
    format!("{VARIABLE}={id}-")
}

/// Whether a process was given such a variable.
fn has(process: Process, is_such: impl Fn(&str) -> bool) -> bool {
    let given = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    let mut variables = given.split(|byte| *byte == 0);
    variables.any(|one| std::str::from_utf8(one).is_ok_and(&is_such))
}
