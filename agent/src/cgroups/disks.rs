//! Whose turn it is at a disk that several want: weights, in proportion to CPUs, as shares of CPU time are.
//!
//! They bound nothing: who is alone at a disk has all of it. Which file there is depends on how the kernel was built, and
//! each counts on those disks only that have its scheduler: BFQ, or the cost model of version 2.

use std::path::Path;

use super::CgroupError;
use super::files::write;

/// Version 1's name for its controller.
pub(super) const CONTROLLER_V1: &str = "blkio";

/// Version 2's name for its controller.
pub(super) const CONTROLLER_V2: &str = "io";

/// The kernel's own weight of a group is that of one CPU, so that a task counts like as many groups of the machine.
const WEIGHT_PER_CPU: u64 = 100;

/// Files of weights, of both versions, with the least and the most that the kernel takes.
const FILES: [(&str, u64, u64); 4] = [
    ("io.weight", 1, 10_000),
    ("io.bfq.weight", 1, 1_000),
    ("blkio.bfq.weight", 1, 1_000),
    // Before Linux 5.0.
    ("blkio.weight", 10, 1_000),
];

/// Gives a group the weight of so many CPUs. Tells whether there is any file to say it in.
pub(super) fn weigh(group: &Path, cpus_milli: u64) -> Result<bool, CgroupError> {
    let weight = cpus_milli.saturating_mul(WEIGHT_PER_CPU) / 1_000;
    let mut there = false;
    for (name, least, most) in FILES {
        let file = group.join(name);
        if file.exists() {
            write(&file, weight.clamp(least, most))?;
            there = true;
        }
    }
    Ok(there)
}
