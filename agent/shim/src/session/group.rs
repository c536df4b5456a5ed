//! A control group for one session, inside that of its task: so that all of the session, and nothing else, can be killed.
//! What it uses counts for the task. It is held by handles, which lead to it from inside a container too.

use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::session::SESSION_GROUP;
use mete_agent_core::task_dir::{CgroupPlan, StartStep};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::process::{NotStarted, text_of};

/// What is read at once of the list of members; killed members leave room for others.
const MEMBERS_BYTES: usize = 64 << 10;

/// The group of one session.
pub(super) struct Group {
    above: OwnedFd,
    name: String,
    directory: OwnedFd,
}

impl Group {
    /// Makes it and puts it into the plan, in the hierarchy that tasks are killed by. `None` when the host has none.
    pub(super) fn make(plan: &mut CgroupPlan) -> Result<Option<Self>, NotStarted> {
        let place = match &mut plan.v2 {
            Some(group) => Some(group),
            None => plan.v1.get_mut("freezer"),
        };
        let Some(place) = place else { return Ok(None) };
        let name = format!("{SESSION_GROUP}{}", getpid().as_raw_nonzero());
        let inside = format!("{place}/{name}");
        let failed = |errno: Errno| NotStarted {
            step: StartStep::Cgroup,
            errno: Some(errno),
            reason: format!("{inside}: {}", text_of(errno)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = rustix::fs::open(place.as_str(), flags, Mode::empty()).map_err(failed)?;
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        match mkdirat(&above, &name, mode) {
            // Left by an earlier process of our number.
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
        .map_err(failed)?;
        let directory = openat(&above, &name, flags, Mode::empty()).map_err(failed)?;
        *place = inside;
        Ok(Some(Self {
            above,
            name,
            directory,
        }))
    }

    /// Kills its members; whether there were none.
    pub(super) fn kill(&self) -> bool {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        // Missing before Linux 5.14, and in version 1.
        let at_once = openat(&self.directory, "cgroup.kill", flags, Mode::empty())
            .and_then(|file| write(&file, b"1"));
        let members = self.members();
        if at_once.is_err() {
            for member in &members {
                let _ = kill_process(*member, Signal::KILL);
            }
        }
        members.is_empty()
    }

    /// Removes it; false while somebody is still leaving.
    pub(super) fn remove(&self) -> bool {
        !matches!(
            unlinkat(&self.above, &self.name, AtFlags::REMOVEDIR),
            Err(Errno::BUSY)
        )
    }

    fn members(&self) -> Vec<Pid> {
        let mut text = vec![0; MEMBERS_BYTES];
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let length = openat(&self.directory, "cgroup.procs", flags, Mode::empty())
            .and_then(|file| read(&file, &mut text))
            .unwrap_or(0);
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
        let numbers = text.split_ascii_whitespace();
        numbers
            .filter_map(|word| word.parse().ok().and_then(Pid::from_raw))
            .collect()
    }
}
