//! The root of a container and what is mounted into it.
//!
//! ```text
//! private ─▶ root put together ─▶ sources opened ─▶ pivot ─▶ /proc /sys /dev ─▶ mounts ─▶ masks ─▶ read-only
//!            (machine's paths)    (machine's paths)          (paths mean the container's from here on)
//! ```
//! Invariants: sources are opened while the machine is still seen, and places while only the container is, so that
//! neither can be taken for the other. Nothing brings devices or set-user-id programs in but the image itself; no
//! device node works but those of `/dev`: the usual ones, and those that were granted. Attributes are set before a mount is seen anywhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};

use mete_agent_core::task_dir::{Container, Launch, Layers, Mounted, Root, Source};
use rustix::fs::{CWD, Mode, OFlags, open, symlink};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount,
    mount_bind, mount_change, move_mount, open_tree, unmount,
};

use super::paths;
use super::users::Users;
use crate::report::Fault;
use crate::system;

const NOTHING_SPECIAL: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
pub(super) const DATA_ONLY: MountAttrFlags =
    NOTHING_SPECIAL.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// The devices that every container has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// Directories of a machine that may lie on file systems of their own, and belong to its root all the same.
const PARTS: [&str; 6] = ["/etc", "/home", "/opt", "/srv", "/usr", "/var"];

/// What looks empty: it tells of the machine, or lets it be changed (Docker's list).
pub(super) const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
];

/// What can only be read (Docker's list).
pub(super) const UNCHANGEABLE: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Builds all of it; after that the machine's files are out of sight.
pub(super) fn build(
    launch: &Launch,
    container: &Container,
    users: Option<&Users>,
) -> Result<(), Fault> {
    let mut shown = Shown::by(users);
    keep_to_oneself()?;
    put_root_together(container, &mut shown)?;
    let sources: Vec<_> = container
        .mounts
        .iter()
        .map(|mounted| Ready::of(mounted, launch, &mut shown))
        .collect::<Result<_, _>>()?;
    let devices = DEVICES.map(|name| (name, clone_of(&format!("/dev/{name}"))));
    let granted: Vec<_> = container
        .devices
        .iter()
        .map(|path| clone_of(path).map_err(Fault::of(path.as_str())))
        .collect::<Result<_, _>>()?;
    pivot(&container.place)?;
    // What is made from here on belongs to root inside; in a root shown for its users nobody else can make anything.
    let maker = users.map_or(Ok(()), Users::make_files);
    maker.map_err(Fault::of("root of the container"))?;

    // Before anything lies over it: a volume is what the image itself has there.
    container
        .volumes
        .iter()
        .try_for_each(|path| stay_writable(path))?;
    mount_processes()?;
    let access = match container.privileged {
        true => DATA_ONLY,
        false => DATA_ONLY | READ_ONLY,
    };
    mount_own("/sys", "sysfs", &[], access)?;
    devices_of(container, devices)?;
    for (path, tree) in container.devices.iter().zip(&granted) {
        let place = paths::inside(path, false)?;
        attach(tree, &place).map_err(Fault::of(path.as_str()))?;
    }
    if let Root::Machine { hidden } = &container.root {
        hidden.iter().try_for_each(|path| hide(path))?;
    }
    for ready in &sources {
        let place = place_for(ready.target, ready.is_directory)?;
        attach(&ready.tree, &place).map_err(Fault::of(ready.target))?;
    }
    if !container.privileged {
        protect()?;
    }
    let place = container.working_dir.as_str();
    if !paths::is_there(place) {
        paths::directories(place).map_err(Fault::of(place))?;
    }
    users.map_or(Ok(()), |_| system::make_files_as(0).map_err(Fault::of("/")))?;
    if container.read_only_root {
        system::mount_attributes(CWD, c"/", READ_ONLY).map_err(Fault::of("/"))?;
    }
    Ok(())
}

/// Puts a directory of the root on itself, so that it may be written to when the root may not.
fn stay_writable(path: &str) -> Result<(), Fault> {
    // What leads to the root, or nowhere, is no place of its own.
    let Ok(place) = paths::inside(path, true) else {
        return Ok(());
    };
    attach(&clone_at(&place).map_err(Fault::of(path))?, &place).map_err(Fault::of(path))
}

/// What is mounted from here on is seen by nobody else.
pub(super) fn keep_to_oneself() -> Result<(), Fault> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(Fault::of("the mounts of the machine"))
}

/// Who sees what is on disk, and which layers are seen so already.
pub(super) struct Shown<'a> {
    users: Option<&'a Users>,
    layers: BTreeSet<String>,
}

impl<'a> Shown<'a> {
    /// Seen by these users, or by those of the machine.
    pub(super) const fn by(users: Option<&'a Users>) -> Self {
        Self {
            users,
            layers: BTreeSet::new(),
        }
    }
}

impl Shown<'_> {
    /// Puts a view of a layer for users of the container on it; nobody else sees it.
    fn layer(&mut self, path: &str) -> Result<(), Fault> {
        if self.users.is_none() || !self.layers.insert(path.to_owned()) {
            return Ok(());
        }
        cover(&self.tree(path)?, path)
    }

    /// A directory as users of the container see it.
    fn tree(&self, path: &str) -> Result<OwnedFd, Fault> {
        let tree = clone_of(path).map_err(Fault::of(path))?;
        if let Some(users) = self.users {
            let what = format!("users of the container in {path}");
            users.show(&tree).map_err(Fault::of(what))?;
        }
        Ok(tree)
    }
}

/// Mounts the root on its place.
pub(super) fn put_root_together(container: &Container, shown: &mut Shown<'_>) -> Result<(), Fault> {
    let place = container.place.as_str();
    match &container.root {
        Root::Layers(layers) => overlay(layers, place, false, shown),
        Root::Directory { path } => {
            let tree = shown.tree(path)?;
            let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
            system::mount_attributes(&tree, c"", attributes).map_err(Fault::of(place))?;
            cover(&tree, place)
        }
        Root::Machine { .. } => {
            show("/", place)?;
            let parts = PARTS.into_iter();
            let mut mounted = parts.filter(|part| paths::is_mounted_below_root(part));
            mounted.try_for_each(|part| show(part, &format!("{place}{part}")))
        }
    }
}

/// Shows a file system of the machine at a place, to be read only. What is mounted below it is not seen.
fn show(from: &str, place: &str) -> Result<(), Fault> {
    mount_bind(from, place).map_err(Fault::of(place))?;
    let handle = open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let handle = handle.map_err(Fault::of(place))?;
    let attributes = READ_ONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    system::mount_attributes(&handle, c"", attributes).map_err(Fault::of(place))
}

/// Puts layers on top of one another. They are named by descriptor: the kernel takes a page of text for all of them,
/// and a descriptor is shorter than any path and has no colons.
fn overlay(
    layers: &Layers,
    place: &str,
    foreign: bool,
    shown: &mut Shown<'_>,
) -> Result<(), Fault> {
    for layer in &layers.lower {
        shown.layer(layer)?;
    }
    if let Some(users) = shown.users {
        // What is written belongs outside to those who write it.
        let upper = layers.upper.as_str();
        users.own(upper).map_err(Fault::of(upper))?;
    }
    let mut kept = Vec::new();
    let mut handle = |path: &str| -> Result<String, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(Fault::of(path))?;
        let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
        kept.push(fd);
        Ok(name)
    };
    let mut options = String::from("lowerdir=");
    for (at, layer) in layers.lower.iter().rev().enumerate() {
        let colon = if at == 0 { "" } else { ":" };
        let _ = write!(options, "{colon}{}", handle(layer)?);
    }
    let (upper, work) = (handle(&layers.upper)?, handle(&layers.work)?);
    let _ = write!(options, ",upperdir={upper},workdir={work}");
    let options = std::ffi::CString::new(options).map_err(|_| Fault::of(place)(Errno::INVAL))?;
    let flags = match foreign {
        true => MountFlags::NODEV | MountFlags::NOSUID,
        false => MountFlags::NODEV,
    };
    mount("overlay", place, "overlay", flags, options.as_c_str())
        .map_err(Fault::of("the layers of the image"))
}

/// Something that waits to be mounted inside.
pub(super) struct Ready<'a> {
    pub(super) tree: OwnedFd,
    target: &'a str,
    pub(super) is_directory: bool,
}

impl<'a> Ready<'a> {
    pub(super) fn of(
        mounted: &'a Mounted,
        launch: &Launch,
        shown: &mut Shown<'_>,
    ) -> Result<Self, Fault> {
        let target = mounted.target.as_str();
        let mut attributes = NOTHING_SPECIAL;
        if mounted.read_only {
            attributes |= READ_ONLY;
        }
        let (tree, is_directory) = match &mounted.source {
            Source::Path { root, below, make } => {
                let owner = launch.owner();
                let handle = paths::below(root, below, *make, owner.as_ref())?;
                let tree = clone_at(&handle).map_err(Fault::of(below.as_str()))?;
                system::mount_attributes(&tree, c"", attributes).map_err(Fault::of(target))?;
                (
                    tree,
                    paths::is_directory(&handle).map_err(Fault::of(target))?,
                )
            }
            Source::Tmpfs { size_bytes } => {
                let size = size_bytes.map(|bytes| bytes.to_string());
                let mut options = vec![("mode", "1777")];
                options.extend(size.as_deref().map(|size| ("size", size)));
                (
                    memory(&options, attributes).map_err(Fault::of(target))?,
                    true,
                )
            }
            Source::Copy { path } => {
                let tree = shown.tree(path)?;
                system::mount_attributes(&tree, c"", attributes).map_err(Fault::of(target))?;
                (tree, true)
            }
            Source::Layers { layers, place } => {
                overlay(layers, place, true, shown)?;
                let tree = clone_of(place).map_err(Fault::of(target))?;
                system::mount_attributes(&tree, c"", attributes).map_err(Fault::of(target))?;
                (tree, true)
            }
        };
        Ok(Self {
            tree,
            target,
            is_directory,
        })
    }
}

/// Makes the root the only thing there is.
fn pivot(place: &str) -> Result<(), Fault> {
    let fault = || Fault::of("the root of the container");
    rustix::process::chdir(place).map_err(fault())?;
    // On itself: the old root lies over the new one then, and goes with one call.
    rustix::process::pivot_root(".", ".").map_err(fault())?;
    unmount(".", UnmountFlags::DETACH).map_err(fault())?;
    rustix::process::chdir("/").map_err(fault())
}

pub(super) fn memory(
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    fresh("tmpfs", options, attributes)
}

/// A file system that is mounted nowhere yet.
fn fresh(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // For those who list mounts.
    fsconfig_set_string(&context, "source", kind)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Another view of what is at a path.
pub(super) fn clone_of(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags)
}

/// The same of what is open.
fn clone_at(handle: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(handle, "", flags)
}

pub(super) fn attach(tree: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", place, "", flags)
}

/// The processes that this one has numbers for.
pub(super) fn mount_processes() -> Result<(), Fault> {
    mount_own("/proc", "proc", &[], DATA_ONLY)
}

/// One of the kernel's own file systems.
fn mount_own(
    path: &str,
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<(), Fault> {
    let place = paths::own(path)?;
    let tree = fresh(kind, options, attributes).map_err(Fault::of(path))?;
    attach(&tree, &place).map_err(Fault::of(path))
}

fn devices_of(
    container: &Container,
    devices: [(&str, Result<OwnedFd, Errno>); DEVICES.len()],
) -> Result<(), Fault> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount_own(
        "/dev",
        "tmpfs",
        &[("mode", "0755"), ("size", "64k")],
        attributes,
    )?;
    for (name, tree) in devices {
        let path = format!("/dev/{name}");
        let tree = tree.map_err(Fault::of(path.as_str()))?;
        paths::empty_file(CWD, &path).map_err(Fault::of(path.as_str()))?;
        let place = open(path.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        attach(&tree, &place.map_err(Fault::of(path.as_str()))?).map_err(Fault::of(path))?;
    }
    for (target, link) in LINKS {
        symlink(target, link).map_err(Fault::of(link))?;
    }
    let terminals = [("ptmxmode", "0666"), ("mode", "0620")];
    mount_own("/dev/pts", "devpts", &terminals, attributes)?;
    let size = container.shm_bytes.to_string();
    let shm = [("mode", "1777"), ("size", size.as_str())];
    mount_own("/dev/shm", "tmpfs", &shm, DATA_ONLY)?;
    match mount_own("/dev/mqueue", "mqueue", &[], DATA_ONLY) {
        // A kernel without message queues.
        Err(fault) if fault.errno == Errno::NODEV => Ok(()),
        done => done,
    }
}

/// Masks what tells of the machine, and makes unchangeable what would change it.
fn protect() -> Result<(), Fault> {
    for path in UNCHANGEABLE
        .into_iter()
        .filter(|path| paths::is_there(path))
    {
        let tree = clone_of(path).map_err(Fault::of(path))?;
        system::mount_attributes(&tree, c"", READ_ONLY | DATA_ONLY).map_err(Fault::of(path))?;
        cover(&tree, path)?;
    }
    for path in MASKED.into_iter().filter(|path| paths::is_there(path)) {
        let handle = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let handle = handle.map_err(Fault::of(path))?;
        let tree = match paths::is_directory(&handle).map_err(Fault::of(path))? {
            true => memory(&[("mode", "0555"), ("size", "4k")], DATA_ONLY | READ_ONLY),
            false => clone_of("/dev/null"),
        };
        let tree = tree.map_err(Fault::of(path))?;
        attach(&tree, &handle).map_err(Fault::of(path))?;
    }
    Ok(())
}

/// Makes a directory look empty, and a file like `/dev/null`.
fn hide(path: &str) -> Result<(), Fault> {
    if !paths::is_there(path) {
        return Ok(());
    }
    let place = paths::inside(path, true)?;
    let tree = match paths::is_directory(&place).map_err(Fault::of(path))? {
        true => memory(&[("mode", "0755"), ("size", "64k")], DATA_ONLY),
        false => clone_of("/dev/null"),
    };
    attach(&tree.map_err(Fault::of(path))?, &place).map_err(Fault::of(path))
}

/// A place for a mount. Where the root can only be read and something of the path is missing, because it lies on a file
/// system that is not seen here, it is made in memory, on the empty directory which that one was mounted on.
fn place_for(target: &str, is_directory: bool) -> Result<OwnedFd, Fault> {
    let fault = match paths::inside(target, is_directory) {
        Err(fault) if fault.errno == Errno::ROFS => fault,
        found => return found,
    };
    let Some(empty) = paths::empty_above(target) else {
        return Err(fault);
    };
    let tree = memory(&[("mode", "0755"), ("size", "64k")], DATA_ONLY);
    cover(&tree.map_err(Fault::of(empty))?, empty)?;
    paths::inside(target, is_directory)
}

pub(super) fn cover(tree: &OwnedFd, path: &str) -> Result<(), Fault> {
    let place = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    attach(tree, &place.map_err(Fault::of(path))?).map_err(Fault::of(path))
}
