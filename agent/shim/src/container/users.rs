//! Users of a container that are others outside: a user namespace, and files that are shown through it.
//!
//! ```text
//! namespace made, by a helper that ends ─▶ files shown through it, by root ─▶ entered, by the task alone
//!                                    held open by the first process ─▶ entered by checks and sessions, too
//! ```
//! The container is built by root of the machine, and so are all its other namespaces: the task has no powers over its
//! mounts, network or name, whatever it is inside.

use std::os::fd::{AsFd, OwnedFd};

use mete_agent_core::task_dir::{IdRange, StartStep};
use rustix::fs::{CWD, Dir, Mode, OFlags, chown, open, openat, readlinkat};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Signal, Uid, WaitOptions, kill_process, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::report::Fault;
use crate::system;

/// A user namespace, and who is who in it.
pub(crate) struct Users {
    namespace: OwnedFd,
    range: IdRange,
}

impl Users {
    /// Makes it. The machine's `/proc` must be seen.
    pub(crate) fn make(range: IdRange) -> Result<Self, Fault> {
        let fault = |errno| Fault {
            step: StartStep::Container,
            errno,
            what: format!("user namespace {range}"),
        };
        let (hold, held) = pipe_with(PipeFlags::CLOEXEC).map_err(fault)?;
        let wait = || {
            system::close_copy(&held);
            // Until it is killed, or its parent is.
            let _ = read(&hold, &mut [0_u8; 1]);
            0
        };
        let helper = system::fork(None, libc::CLONE_NEWUSER, wait).map_err(fault)?;
        let made = Self::of(helper, range);
        let _ = kill_process(helper, Signal::KILL);
        let _ = waitpid(Some(helper), WaitOptions::empty());
        made.map_err(fault)
    }

    fn of(helper: Pid, range: IdRange) -> Result<Self, Errno> {
        let own = |name: &str| format!("/proc/{}/{name}", helper.as_raw_nonzero());
        let map = format!("0 {} {}\n", range.first, range.count);
        for file in ["uid_map", "gid_map"] {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = open(own(file), flags, Mode::empty())?;
            write(&file, map.as_bytes())?;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self {
            namespace: open(own("ns/user"), flags, Mode::empty())?,
            range,
        })
    }

    /// Those of a running container. Its first process, which runs nothing of the task's, holds them open and no others.
    pub(super) fn held_by(first: Pid, range: IdRange) -> Result<Self, Errno> {
        let place = format!("/proc/{}/fd", first.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let list = open(place.as_str(), flags | OFlags::DIRECTORY, Mode::empty())?;
        for entry in Dir::read_from(&list)? {
            let entry = entry?;
            let name = entry.file_name();
            // `.` and `..` are no links.
            let is_namespace = readlinkat(&list, name, Vec::new())
                .is_ok_and(|target| target.as_bytes().starts_with(b"user:["));
            if is_namespace {
                let namespace = openat(&list, name, flags, Mode::empty())?;
                return Ok(Self { namespace, range });
            }
        }
        Err(Errno::NOENT)
    }

    /// Another handle of the namespace.
    pub(super) fn namespace(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.namespace, 0)
    }

    /// Shows files as those of the users inside who have their numbers on disk. The tree is mounted nowhere yet.
    pub(super) fn show(&self, tree: &OwnedFd) -> Result<(), Errno> {
        system::map_users(tree, &self.namespace)
    }

    /// Makes what this process makes in file systems belong to root inside.
    pub(super) fn make_files(&self) -> Result<(), Errno> {
        system::make_files_as(self.range.first)
    }

    /// Gives something of the machine to root inside.
    pub(super) fn own(&self, path: &str) -> Result<(), Errno> {
        let first = self.range.first;
        chown(path, Some(Uid::from_raw(first)), Some(Gid::from_raw(first)))
    }
}

/// Leaves the users of the machine behind, for good; what this process is inside is to be said next.
pub(super) fn enter(namespace: &OwnedFd) -> Result<(), Errno> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
}

/// Lets everybody open any port of the network this process is in: its root is not the container's.
pub(super) fn open_low_ports() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let _ = openat(CWD, path, flags, Mode::empty()).and_then(|file| write(&file, b"0"));
}
