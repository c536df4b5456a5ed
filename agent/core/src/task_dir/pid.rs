//! `pid`: who runs the task, so that it is found again after a restart and never mistaken.

use serde::{Deserialize, Serialize};

use super::{PID_FILE, TaskFile};

/// One process of one boot. Process ids are used again; together with the start time they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Clock ticks from boot to its start: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

/// What `/proc/<pid>/stat` says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat {
    /// The process itself.
    pub process: Process,
    /// `R`, `S`, `Z` for a zombie, …
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
}

impl ProcStat {
    /// Reads the text of `/proc/<pid>/stat`; `None` when it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let pid = text.split_once(' ')?.0.parse().ok()?;
        // The name in parentheses may itself hold spaces and parentheses: only the last one ends it.
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // The next is field 7; the start time is field 22.
        let start_ticks = fields.nth(22 - 7)?.parse().ok()?;
        Some(Self {
            process: Process { pid, start_ticks },
            state,
            parent,
            group,
            session,
        })
    }
}

/// `pid`: who runs the task. Whoever creates it first has the directory: the shim, or an agent that
/// has waited long enough for a shim and gives the launch up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidFile {
    /// [`FORMAT_VERSION`](super::FORMAT_VERSION) of the writer.
    pub version: u32,
    /// `/proc/sys/kernel/random/boot_id`: start times count from this boot.
    pub boot_id: String,
    /// The processes; `None`: the launch was given up, a shim that comes now must not run it.
    #[serde(default)]
    pub runner: Option<Runner>,
}

/// The two processes that are there at least while a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// The shim.
    pub shim: Process,
    /// The task's first process; its id is also its session and process group.
    pub task: Process,
}

impl TaskFile for PidFile {
    const NAME: &'static str = PID_FILE;
}
