//! What an agent that was killed has left: its tasks, ended for whoever takes the whole machine down.
//!
//! An agent that comes back looks after its tasks by itself; this is for the case that none will come back soon. The
//! task directories stay, so that the next agent learns from them how its tasks ended.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::TaskDir;
use tracing::warn;

use crate::cgroups::{self, Cgroups, Hierarchies};
use crate::places::Places;
use crate::shims;

/// How often is looked whether the shims have recorded the ends of their tasks, which takes milliseconds: 2 s in all.
const SHIM_LOOKS: u32 = 100;
/// Between two looks.
const SHIM_LOOK: Duration = Duration::from_millis(20);

/// Kills every task in the work directory of the agent called `name`, which must not run any more, and removes their
/// control groups; returns how many processes are left. Blocks, for milliseconds a task as a rule.
pub fn end_tasks(name: &str, work_dir: &Path) -> usize {
    let Ok(places) = Places::open(work_dir) else {
        return 0; // Where there is no directory there was no task.
    };
    let tasks = fs::read_dir(places.tasks()).into_iter().flatten().flatten();
    let tasks: Vec<TaskDir> = tasks.map(|task| TaskDir::new(task.path())).collect();
    let left = tasks.iter().map(shims::kill_remains).sum();
    for _ in 0..SHIM_LOOKS {
        if !tasks.iter().any(shims::has_running_shim) {
            break;
        }
        thread::sleep(SHIM_LOOK);
    }
    let scope = cgroups::scope_of(name, places.root());
    let groups = Cgroups::set_up(&Hierarchies::of_this_host(), cgroups::Options::new(scope));
    for (container, plan) in groups.orphans(&BTreeSet::new()) {
        cgroups::kill(&plan);
        if let Err(error) = cgroups::remove(&plan) {
            warn!(container, %error, "control group of an ended task stays");
        }
    }
    groups.tear_down();
    left
}
