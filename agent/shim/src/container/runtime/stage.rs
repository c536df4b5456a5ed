//! What stands ready before a runtime begins, in mounts that this process alone sees.
//!
//! ```text
//! <room>                a memory file system over an empty directory of the task
//!     config.json       see `bundle`
//!     sources/<n>       what is to be seen at the n-th place: opened below its trusted root, with its attributes set
//!     state/ log pid    the runtime's own
//! <place>               the root, put together as for a container of the shim's own
//! ```
//! A runtime takes paths. These lead to nothing but what was opened here by handle, and into the container by no symbolic
//! link, so none leads it astray.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use mete_agent_core::task_dir::{Container, Launch, Root, Runtime, RuntimeKind, Source};
use rustix::fs::{CWD, Mode, OFlags, mkdir, open};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};

use super::bundle::{self, Place};
use super::targets;
use crate::container::mounts::{self, Ready, Shown};
use crate::container::{paths, powers};
use crate::directory::read_text;
use crate::report::Fault;

/// The agent's own directories are for nobody else.
const OWN: Mode = Mode::RWXU;

/// Where the one hierarchy of version 2 is mounted when there is no other.
const UNIFIED: &str = "/sys/fs/cgroup";

/// Where in the task's group of version 2 runc puts the task. Limits are those of the group above.
const GROUP_BELOW: &str = "/task";

/// Puts all of it there.
pub(super) fn set(launch: &Launch, container: &Container, runtime: &Runtime) -> Result<(), Fault> {
    for limit in &container.rlimits {
        powers::number_of(&limit.kind)?;
    }
    mounts::keep_to_oneself()?;
    // A runtime speaks of processes by the numbers that they have here.
    mounts::mount_processes()?;
    let group = show_groups(launch, runtime)?;
    let room = runtime.room.as_str();
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let memory = mounts::memory(&[("mode", "0700")], attributes).map_err(Fault::of(room))?;
    mounts::cover(&memory, room)?;
    let mut shown = Shown::by(None);
    mounts::put_root_together(container, &mut shown)?;
    let places = places(launch, container, room, &mut shown)?;
    let config = bundle::config(launch, container, &places, group.as_deref());
    let path = format!("{room}/config.json");
    fs::write(&path, config.to_string()).map_err(|error| refused(&path, &error))
}

fn refused(what: &str, error: &std::io::Error) -> Fault {
    Fault::of(what)(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// What is seen besides the root and the kernel's own, in order.
fn places(
    launch: &Launch,
    container: &Container,
    room: &str,
    shown: &mut Shown<'_>,
) -> Result<Vec<Place>, Fault> {
    let sources = format!("{room}/sources");
    mkdir(sources.as_str(), OWN).map_err(Fault::of(sources.as_str()))?;
    let mut targets = Vec::new();
    for mounted in &container.mounts {
        let target = targets::resolve(&container.place, &mounted.target);
        let target = target.map_err(Fault::of(mounted.target.as_str()))?;
        targets::may_be_covered(&target)?;
        targets.push(target);
    }
    let mut all = granted(container)?;
    for (at, path) in container.volumes.iter().enumerate() {
        all.extend(volume(container, path, &format!("{sources}/volume-{at}"))?);
    }
    if let Root::Machine { hidden } = &container.root {
        let there = hidden.iter().filter(|path| paths::is_there(path));
        all.extend(there.map(|path| hide(path)));
        let wanted = targets.iter().chain([&container.working_dir]);
        let missing = targets::missing(&container.place, hidden, wanted)?;
        all.extend(missing.into_iter().map(Place::cover));
    }
    for (at, (mounted, target)) in container.mounts.iter().zip(targets).enumerate() {
        all.push(match &mounted.source {
            Source::Tmpfs { size_bytes } => Place::memory(mounted, &target, *size_bytes),
            Source::Path { .. } | Source::Copy { .. } | Source::Layers { .. } => {
                let ready = Ready::of(mounted, launch, shown)?;
                let kept = format!("{sources}/{at}");
                let source = keep(&ready.tree, ready.is_directory, &kept)?;
                Place::bound(&target, &source, mounted.read_only)
            }
        });
    }
    Ok(all)
}

/// A directory of the root that may be written to whatever the root is; `None`: what it is called lies over it.
fn volume(container: &Container, path: &str, kept: &str) -> Result<Option<Place>, Fault> {
    let target = targets::resolve(&container.place, path).map_err(Fault::of(path))?;
    let is_of_devices = target == "/dev" || target.starts_with("/dev/");
    if is_of_devices || targets::may_be_covered(&target).is_err() {
        return Ok(None);
    }
    let there = format!("{}{target}", container.place);
    paths::directories(&there).map_err(Fault::of(path))?;
    let is_directory = fs::metadata(&there).is_ok_and(|found| found.is_dir());
    let tree = mounts::clone_of(&there).map_err(Fault::of(path))?;
    let source = keep(&tree, is_directory, kept)?;
    Ok(Some(Place::bound(&target, &source, false)))
}

/// Mounts something in the room; its path there.
fn keep(tree: &OwnedFd, is_directory: bool, path: &str) -> Result<String, Fault> {
    match is_directory {
        true => mkdir(path, OWN),
        false => paths::empty_file(CWD, path),
    }
    .map_err(Fault::of(path))?;
    let place = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    mounts::attach(tree, &place.map_err(Fault::of(path))?).map_err(Fault::of(path))?;
    Ok(path.to_owned())
}

/// The nodes of devices that it was given.
fn granted(container: &Container) -> Result<Vec<Place>, Fault> {
    let node = |path: &String| {
        let found = fs::metadata(path).map_err(|error| refused(path, &error))?;
        Ok(Place::device(path, found.mode(), found.rdev()))
    };
    container.devices.iter().map(node).collect()
}

/// Makes a directory of the machine look empty, and a file like `/dev/null`.
fn hide(path: &str) -> Place {
    match fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        true => Place::cover(path.to_owned()),
        false => Place::nothing(path),
    }
}

/// Puts the control groups of the machine out of sight, which some runtimes would enter and change. What runc cannot
/// do without stays, and it is told by which name it finds the task's own.
fn show_groups(launch: &Launch, runtime: &Runtime) -> Result<Option<String>, Fault> {
    let table = "/proc/self/mountinfo";
    let text = read_text(table).map_err(Fault::of(table))?;
    let all: Vec<Hierarchy> = text.lines().filter_map(Hierarchy::parse).collect();
    if all.iter().any(|one| one.point == UNIFIED) {
        let group = launch.cgroups.v2.as_deref();
        let group = group.and_then(|group| below(group, UNIFIED));
        return Ok(group.map(|group| match runtime.kind {
            // When it fails it freezes the group it was given, and kills all in it: not this process, and not itself.
            RuntimeKind::Runc => group + GROUP_BELOW,
            RuntimeKind::Crun => group,
        }));
    }
    let mut own = None;
    for hierarchy in all.iter().rev() {
        let group = launch
            .cgroups
            .v1
            .get("devices")
            .filter(|_| hierarchy.has_devices);
        match (runtime.kind, group) {
            (RuntimeKind::Runc, Some(group)) => {
                // It enters the group with the task alone, and when it fails it kills all that it finds there.
                let top = format!("{}/tasks", hierarchy.point);
                fs::write(&top, "0").map_err(|error| refused(&top, &error))?;
                own = below(group, hierarchy.point);
            }
            (RuntimeKind::Crun | RuntimeKind::Runc, _) => {
                let hidden = unmount(hierarchy.point, UnmountFlags::DETACH);
                hidden.map_err(Fault::of(hierarchy.point))?;
            }
        }
    }
    match (runtime.kind, own) {
        (RuntimeKind::Runc, None) => Err(Fault::of(
            "runc, which needs a control group of devices,",
        )(Errno::NOENT)),
        (_, own) => Ok(own),
    }
}

fn below(group: &str, point: &str) -> Option<String> {
    group.strip_prefix(point).map(str::to_owned)
}

/// A mounted hierarchy of control groups.
struct Hierarchy<'a> {
    point: &'a str,
    has_devices: bool,
}

impl<'a> Hierarchy<'a> {
    /// A line of `/proc/<pid>/mountinfo`; `None` when it is about something else (proc_pid_mountinfo(5)).
    fn parse(line: &'a str) -> Option<Self> {
        let (before, behind) = line.split_once(" - ")?;
        let mut behind = behind.split(' ');
        let kind = behind.next()?;
        let options = behind.nth(1)?;
        matches!(kind, "cgroup" | "cgroup2").then_some(())?;
        Some(Self {
            point: before.split(' ').nth(4)?,
            has_devices: kind == "cgroup" && options.split(',').any(|one| one == "devices"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_told_from_other_mounts() {
        let v1 =
            "36 30 0:33 / /sys/fs/cgroup/devices rw,relatime shared:7 - cgroup cgroup rw,devices";
        let v2 = "40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate";
        let other = "30 24 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755";

        let read = |line| Hierarchy::parse(line).map(|one| (one.point, one.has_devices));

        assert_eq!(read(v1), Some(("/sys/fs/cgroup/devices", true)));
        assert_eq!(read(v2), Some(("/sys/fs/cgroup/unified", false)));
        assert_eq!(read(other), None);
    }
}
