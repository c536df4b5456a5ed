//! The first process of a container: with it the whole container dies, whatever its engine does.

use std::fs;
use std::path::Path;

use mete_agent_core::task_dir::{CgroupPlan, EngineContainer, Process, TaskDir};

use crate::cgroups::Hierarchies;
use crate::{processes, shims};

/// Shorter than any id that an engine gives: it must be found in the names of groups.
const MIN_ID_CHARS: usize = 12;

/// The first process of a task's container, while it runs.
pub(crate) fn of(dir: &TaskDir) -> Option<Process> {
    if !dir.docker().exists() {
        return None;
    }
    let known = shims::read_file::<EngineContainer>(&dir.docker()).ok()?;
    known.init.filter(|init| processes::is_running(*init))
}

/// The process an engine names, and its groups. `None` when it is not that container's: an engine may count processes
/// by other numbers than this machine does.
pub(super) fn find(pid: i64, id: &str) -> Option<(Process, CgroupPlan)> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let process = processes::stat(pid)?.process;
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let is_its = id.len() >= MIN_ID_CHARS && groups.contains(id);
    is_its.then(|| (process, plan(&groups, &Hierarchies::of_this_host())))
}

/// From `/proc/PID/cgroup` to directories.
fn plan(groups: &str, hierarchies: &Hierarchies) -> CgroupPlan {
    let mut plan = CgroupPlan::default();
    let at = |mount: &Path, path: &str| {
        let path = mount.join(path.trim_start_matches('/'));
        path.to_str().map(str::to_owned)
    };
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        if controllers.is_empty() {
            plan.v2 = hierarchies.v2.as_ref().and_then(|mount| at(mount, path));
        }
        for controller in controllers.split(',') {
            let mount = hierarchies.v1.get(controller);
            if let Some(group) = mount.and_then(|mount| at(mount, path)) {
                plan.v1.insert(controller.to_owned(), group);
            }
        }
    }
    if let Some(group) = &plan.v2 {
        let text = fs::read_to_string(Path::new(group).join("cgroup.controllers"));
        let names = text.unwrap_or_default();
        plan.v2_controllers = names.split_whitespace().map(str::to_owned).collect();
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_process_become_directories() {
        let text = "5:cpu,cpuacct:/docker/abc\n2:name=systemd:/docker/abc\n0::/docker/abc\n";
        let mut hierarchies = Hierarchies::default();
        hierarchies.v1.insert("cpu".into(), "/nowhere/cpu".into());
        hierarchies.v2 = Some("/nowhere/unified".into());

        let plan = plan(text, &hierarchies);

        assert_eq!(plan.v1["cpu"], "/nowhere/cpu/docker/abc");
        assert_eq!(plan.v1.len(), 1);
        assert_eq!(plan.v2.as_deref(), Some("/nowhere/unified/docker/abc"));
    }

    #[test]
    fn a_process_of_somebody_else_is_not_taken_for_a_containers() {
        let own = i64::from(std::process::id());

        assert_eq!(find(own, "0123456789abcdef"), None);
        assert_eq!(find(own, ""), None);
        assert_eq!(find(0, "0123456789abcdef"), None);
    }
}
