//! What an agent that was killed has left: its tasks, ended for whoever takes the whole machine down.
//!
//! An agent that comes back looks after its tasks by itself; this is for the case that none will come back soon. The
//! task directories stay, so that the next agent learns from them how its tasks ended.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::TaskDir;
use mete_model::ContainerId;
use tracing::warn;

use crate::cgroups::{self, Cgroups, Hierarchies};
use crate::networks::{NetworkOptions, Networks};
use crate::places::Places;
use crate::shims;

/// How often is looked whether the shims have recorded the ends of their tasks, which takes milliseconds: 2 s in all.
const SHIM_LOOKS: u32 = 100;
/// Between two looks.
const SHIM_LOOK: Duration = Duration::from_millis(20);

/// Plugins are told of each container, before all is removed that is the agent's.
fn leave_networks(networks: &Networks, tasks: &[TaskDir]) {
    for dir in tasks {
        let name = dir.path().file_name().and_then(|name| name.to_str());
        let Some(Ok(container)) = name.map(ContainerId::new) else {
            continue;
        };
        if let Err(error) = networks.leave(dir, &container) {
            warn!(%container, %error, "network of an ended container stays");
        }
    }
    if let Err(error) = networks.tear_down() {
        warn!(%error, "networks of ended containers stay");
    }
}

/// Those of tasks; none where there is no such place.
fn directories(tasks: &Path) -> impl Iterator<Item = TaskDir> {
    let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
    entries.map(|task| TaskDir::new(task.path()))
}

/// The sandbox of a task that runs, of those whose directories are in `tasks`, that is not below `root` and not where it was any
/// more: the work directory was moved. Blocks.
pub(crate) fn left_behind(tasks: &Path, root: &Path) -> Option<PathBuf> {
    let running = directories(tasks).filter(shims::has_running_shim);
    let mut sandboxes = running.filter_map(|task| shims::sandbox_of(&task));
    sandboxes.find(|sandbox| !sandbox.starts_with(root) && !sandbox.exists())
}

/// Kills every task in the work directory of the agent called `name`, which must not run any more, and removes their
/// control groups; returns how many processes are left. Blocks, for milliseconds a task as a rule.
pub fn end_tasks(name: &str, work_dir: &Path) -> usize {
    let Ok(places) = Places::open(work_dir) else {
        return 0; // Where there is no directory there was no task.
    };
    let tasks: Vec<TaskDir> = directories(&places.tasks()).collect();
    let left = tasks.iter().map(shims::kill_remains).sum();
    for _ in 0..SHIM_LOOKS {
        if !tasks.iter().any(shims::has_running_shim) {
            break;
        }
        thread::sleep(SHIM_LOOK);
    }
    if let Err(error) = crate::sandbox::remove_tree(&places.secrets()) {
        warn!(%error, "secrets of ended tasks stay");
    }
    let scope = places.scope(name);
    let scope = scope.unwrap_or_else(|_| cgroups::scope_of(name, places.root()));
    let here = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let networks = Networks::new(&scope, NetworkOptions::default(), here);
    leave_networks(&networks, &tasks);
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
