//! A task's container, built by the process that is to become the first one in it.
//!
//! ```text
//! shim ─fork into new namespaces─▶ (blocked) → groups → walls: root, mounts, name → first process of the container
//!                                                                                      └─fork─▶ powers → exec
//! ```
//! Everything is mounted in the mount namespace of that process, so it goes when the last process of the container
//! goes, whoever is killed. The first process stays what it is, a copy of the shim: it reaps what the task leaves
//! behind, and a signal that the task does not catch ends the task, which it would not if the task were the first.
//!
//! Where the agent's operator wants it, an OCI runtime builds the container, below the same first process: see `runtime`.

mod first; // the first process: starts the task, reaps, tells how it ended
pub(crate) mod join; // a health check inside
mod mounts; // the root and what is mounted into it
mod paths; // places inside and outside that no symbolic link leads astray
mod powers; // user, capabilities, limits: what remains of root
mod runtime; // an OCI runtime in place of what is here
mod seccomp; // which system calls are refused
mod users; // users that are others outside

use std::ffi::c_int;
use std::os::fd::{AsFd, OwnedFd};

use mete_agent_core::task_dir::{Container, Launch, Net};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::image::Image;
use crate::process::Entry;
use crate::report::{self, Fault};
use crate::system::{self, CStringArray};

pub(crate) use powers::Powers;
pub(crate) use users::Users;

/// Exit code of a process that never became the first of a container; only the shim sees it.
const NEVER_RAN: c_int = 127;

/// The namespaces that a container has for itself when its first process begins. The one of control groups comes later,
/// when its groups are entered; a runtime makes all but that of processes itself.
pub(crate) const fn namespaces(container: &Container) -> c_int {
    if container.runtime.is_some() {
        return libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    }
    let all = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    match container.network {
        // One that is joined is entered later.
        Net::Host | Net::Joined { .. } => all,
        Net::None => all | libc::CLONE_NEWNET,
    }
}

/// What runs inside.
pub(crate) struct Program<'a> {
    pub(crate) image: &'a Image,
    pub(crate) argv: &'a CStringArray<'a>,
    pub(crate) environment: &'a CStringArray<'a>,
    /// Its users, if they are others than the machine's.
    pub(crate) users: Option<&'a Users>,
}

/// The life of a container's first process; returns its exit code.
pub(crate) fn live(
    launch: &Launch,
    container: &Container,
    entry: &Entry,
    already_in_v2: bool,
    program: &Program<'_>,
    report: &OwnedFd,
) -> c_int {
    // What runs inside must not look into this process: it has the shim's memory and the machine's files.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if let Err((step, errno)) = entry.join_groups(already_in_v2) {
        report::failed(report, step, errno, "");
        return NEVER_RAN;
    }
    if let Some(runtime) = &container.runtime {
        return runtime::live(launch, container, runtime, report);
    }
    match build(launch, container, program.users) {
        Ok(()) => first::live(launch, container, program, report),
        Err(fault) => {
            report::failed(report, fault.step, fault.errno, &fault.what);
            NEVER_RAN
        }
    }
}

/// Builds a container, gives up all powers, and ends: tells whether it could. Returns an exit code.
pub(crate) fn try_out(
    launch: &Launch,
    container: &Container,
    users: Option<&Users>,
    report: &OwnedFd,
) -> c_int {
    let tried = build(launch, container, users)
        .and_then(|()| Powers::of(launch, container, users))
        .and_then(|powers| powers.take());
    match tried {
        Ok(()) => report::started(report),
        Err(fault) => report::failed(report, fault.step, fault.errno, &fault.what),
    }
    0
}

fn build(launch: &Launch, container: &Container, users: Option<&Users>) -> Result<(), Fault> {
    if let Net::Joined { namespace } = &container.network {
        join_network(namespace).map_err(Fault::of(namespace.as_str()))?;
    }
    system::own_view_of_groups();
    if users.is_some() && container.network != Net::Host {
        users::open_low_ports();
    }
    mounts::build(launch, container, users)?;
    if let Some(name) = &container.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(Fault::of("the host name"))?;
    }
    if container.network == Net::None {
        system::loopback_up().map_err(Fault::of("the loopback device"))?;
    }
    Ok(())
}

/// Enters a network that is there already, while the machine's files are still seen.
fn join_network(namespace: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(namespace, flags, Mode::empty())?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
}
