//! What remains of root when a program starts in a container: limits, user, capabilities, system calls.

use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::{Container, Launch, StartStep};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::seccomp::{self, Filters};
use super::users::{self, Users};
use crate::report::Fault;
use crate::system;

/// Capabilities are numbered from 0 to at most this (64 bits).
const LAST_CAPABILITY: u32 = 63;

/// Limits by name; the numbers are those of every architecture Mete is built for.
const LIMITS: [(&str, i32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// The number of a limit.
pub(super) fn number_of(limit: &str) -> Result<i32, Fault> {
    let found = LIMITS.iter().find(|(name, _)| *name == limit);
    let number = found.map(|(_, number)| *number);
    number.ok_or_else(|| Fault::of(limit)(Errno::INVAL))
}

/// All of it, prepared.
pub(crate) struct Powers {
    capabilities: CapabilitySet,
    no_new_privileges: bool,
    filters: Option<Filters>,
    limits: Vec<(String, i32, Option<u64>, Option<u64>)>,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    /// Where these are users of the container's own.
    users: Option<OwnedFd>,
}

impl Powers {
    /// Of a container with these users.
    pub(crate) fn of(
        launch: &Launch,
        container: &Container,
        users: Option<&Users>,
    ) -> Result<Self, Fault> {
        let bits = container.capability_bits();
        let limit = |limit: &mete_agent_core::task_dir::ProcessLimit| {
            let number = number_of(&limit.kind)?;
            Ok((limit.kind.clone(), number, limit.soft, limit.hard))
        };
        let user = launch.user.as_ref();
        let groups = user.map_or(&[][..], |user| &user.groups);
        Ok(Self {
            capabilities: CapabilitySet::from_bits_retain(bits),
            no_new_privileges: container.no_new_privileges,
            filters: container
                .seccomp
                .then(|| seccomp::filters(bits))
                .transpose()?,
            limits: container
                .rlimits
                .iter()
                .map(limit)
                .collect::<Result<_, _>>()?,
            uid: Uid::from_raw(user.map_or(0, |user| user.uid)),
            gid: Gid::from_raw(user.map_or(0, |user| user.gid)),
            groups: groups.iter().copied().map(Gid::from_raw).collect(),
            users: users
                .map(Users::namespace)
                .transpose()
                .map_err(Fault::of("the user namespace"))?,
        })
    }

    /// What must stay open until they are taken.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &OwnedFd> {
        self.users.iter()
    }

    /// Gives everything else up, for good. The program comes next.
    pub(crate) fn take(&self) -> Result<(), Fault> {
        for (name, number, soft, hard) in &self.limits {
            system::limit(*number, *soft, *hard).map_err(Fault::of(format!("limit {name}")))?;
        }
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        if let Some(namespace) = &self.users {
            // Before what is given up, because entering gives all powers over it.
            users::enter(namespace).map_err(Fault::of("the user namespace"))?;
        }
        let powers = || Fault::of("capabilities");
        for number in 0..=LAST_CAPABILITY {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if self.capabilities.contains(one) {
                continue;
            }
            match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // The kernel knows fewer.
                Err(Errno::INVAL) => break,
                Err(errno) => return Err(powers()(errno)),
            }
        }
        if !self.no_new_privileges {
            // Only root may filter without giving up new privileges, and this is the last moment of root.
            self.filter()?;
        }
        self.become_user().map_err(|errno| Fault {
            step: StartStep::User,
            errno,
            what: String::new(),
        })?;
        clear_ambient_capability_set().map_err(powers())?;
        // To become another user has cleared all; what the bounding set keeps is all that root gets again by exec.
        let left = match self.uid.is_root() {
            true => self.capabilities,
            false => CapabilitySet::empty(),
        };
        let sets = CapabilitySets {
            effective: left,
            permitted: left,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).map_err(powers())?;
        if self.no_new_privileges {
            set_no_new_privs(true).map_err(Fault::of("no new privileges"))?;
            self.filter()?;
        }
        system::default_signals();
        Ok(())
    }

    fn filter(&self) -> Result<(), Fault> {
        let mut filters = self.filters.iter().flatten();
        filters
            .try_for_each(|filter| system::filter_calls(filter))
            .map_err(Fault::of("the filter of system calls"))
    }

    fn become_user(&self) -> Result<(), Errno> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)
    }
}
