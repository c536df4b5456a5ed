//! Which devices the processes of a container may open or make: version 1's `devices`. Version 2 has no such file; there a
//! container has the nodes of its `/dev`, and cannot make others.

use std::fmt::Display;
use std::path::Path;

use mete_agent_core::task_dir::CgroupPlan;

use super::CgroupError;
use super::files::write;

/// The kernel's name for the controller.
pub(super) const CONTROLLER: &str = "devices";

/// What every container may use: null, zero, full, random, urandom, tty, ptmx, and terminals.
const USUAL: [&str; 8] = [
    "c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2", "c 136:*",
];

/// Allows the usual devices and those that were granted, and no others; where there is such a group.
pub(super) fn set<D: Display>(plan: &CgroupPlan, granted: &[D]) -> Result<(), CgroupError> {
    let Some(group) = plan.v1.get(CONTROLLER) else {
        return Ok(());
    };
    let group = Path::new(group);
    write(&group.join("devices.deny"), "a")?;
    let allow = group.join("devices.allow");
    for usual in USUAL {
        write(&allow, format_args!("{usual} rwm"))?;
    }
    // A device may be used as it is there, not be made anew elsewhere.
    let mut granted = granted.iter();
    granted.try_for_each(|device| write(&allow, format_args!("{device} rw")))
}
