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

/// Schedulers of disks that heed the weights of version 1: the second before Linux 5.0.
const SCHEDULERS: [&str; 2] = ["[bfq]", "[cfq]"];

/// Whether any of these disks (`/sys/block`) has a scheduler that heeds weights.
pub(super) fn are_weighed(disks: &Path) -> bool {
    let disks = std::fs::read_dir(disks).into_iter().flatten().flatten();
    disks
        .filter_map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")).ok())
        .any(|known| {
            known
                .split_whitespace()
                .any(|one| SCHEDULERS.contains(&one))
        })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_scheduled_by_weights_is_found() {
        let disks = tempfile::tempdir().unwrap();
        let queue = |disk: &str, text: &str| {
            let queue = disks.path().join(disk).join("queue");
            std::fs::create_dir_all(&queue).unwrap();
            std::fs::write(queue.join("scheduler"), text).unwrap();
        };
        queue("loop0", "none\n");
        queue("sda", "[none] mq-deadline kyber bfq\n");
        assert!(!are_weighed(disks.path()));

        queue("sdb", "none mq-deadline kyber [bfq]\n");
        assert!(are_weighed(disks.path()));
    }
}
