//! The clusters on which Mesos' own allocator was measured, so that the figures compare.
//!
//! Mesos' agents are all alike, `cpus:24;mem:4096;disk:4096;ports:[31000-32000]`, and so are its tasks,
//! `cpus:1;mem:100`. Ours are those on average, drawn among more than a hundred shapes, so that nothing
//! is fast because everything is equal. What is in use on an agent is as in Mesos to the last port.

use std::time::Duration;

use mete_model::{MB_MILLI, Ranges, Resources};

use crate::cluster::{Cluster, Roles, role};
use crate::dice::Dice;

/// 365 days, the longest filter of Mesos; its benchmark asks for more and gets that.
pub const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An agent of one of 117 shapes: 18 to 30 CPUs, 3584 to 4608 MB of memory.
pub fn machine(dice: &mut Dice) -> Resources {
    let cpus = 18 + dice.below(13);
    let megabytes = 3_584 + 128 * dice.below(9);
    let mut machine =
        Resources::cpus_mem(cpus * 1_000, megabytes).with_ports(Ranges::interval(31_000, 32_000));
    machine.disk_milli = 4_096 * MB_MILLI;
    machine
}

/// A task of one of 121 shapes: 0.5 to 1.5 CPUs, 50 to 150 MB of memory.
pub fn task(dice: &mut Dice) -> Resources {
    Resources::cpus_mem(500 + 100 * dice.below(11), 50 + 10 * dice.below(11))
}

/// Everything is free.
pub fn free(agents: usize, frameworks: usize, roles: Roles) -> Cluster {
    let mut dice = Dice::new(11);
    let mut cluster = Cluster::new();
    for _ in 0..agents {
        cluster.add_agent(machine(&mut dice));
    }
    cluster.add_frameworks(frameworks, roles);
    cluster
}

/// Two thirds are used, as in `DeclineOffers`; all frameworks are in one role.
pub fn mostly_used(agents: usize, frameworks: usize) -> Cluster {
    let mut used = Resources::cpus_mem(16_000, 2_014).with_ports(in_pieces(32_000));
    used.disk_milli = 1_024 * MB_MILLI;
    in_use(agents, frameworks, &used)
}

/// Half is used; all frameworks are in one role.
pub fn half_used(agents: usize, frameworks: usize) -> Cluster {
    let mut used = Resources::cpus_mem(12_000, 2_048).with_ports(in_pieces(31_500));
    used.disk_milli = 2_048 * MB_MILLI;
    in_use(agents, frameworks, &used)
}

fn in_use(agents: usize, frameworks: usize, used: &Resources) -> Cluster {
    let mut cluster = free(agents, frameworks, Roles::One);
    for agent in 0..agents {
        cluster.claim(agent, agent % frameworks, used);
    }
    cluster
}

/// The ports from 31000 on in 16 pieces: 31000, 31002 … 31028 and 31030 to `last`.
fn in_pieces(last: u64) -> Ranges {
    let mut pieces = Ranges::interval(31_030, last);
    for port in (31_000..31_030).step_by(2) {
        pieces.add(&Ranges::interval(port, port));
    }
    pieces
}

/// How many roles of `LargeAndSmallQuota` are small, for each that is large.
const SMALL_PER_LARGE: usize = 5;

/// `LargeAndSmallQuota`: as many agents as roles, one framework in each role. Of six roles five have a
/// quota of half an agent and one has a quota of two agents, as guarantee and as limit: a quarter of the
/// agents is left when all have theirs.
pub fn quota(roles: usize) -> Cluster {
    let mut dice = Dice::new(12);
    let mut cluster = Cluster::new();
    for _ in 0..roles {
        cluster.add_agent(quota_machine(&mut dice));
    }
    cluster.add_frameworks(roles, Roles::Own);
    for number in 0..roles {
        let cpus = if number % (SMALL_PER_LARGE + 1) == 0 {
            4
        } else {
            1
        };
        let mut amounts = Resources::cpus_mem(cpus * 1_000, cpus * 1_024);
        amounts.disk_milli = cpus * 1_024 * MB_MILLI;
        cluster.set_quota(&role(&format!("role-{number}")), &amounts);
    }
    cluster
}

/// `cpus:2;mem:2048;disk:2048` as in Mesos, and up to 99 MB of disk more: a hundred shapes that make no
/// difference to what is given.
pub fn quota_machine(dice: &mut Dice) -> Resources {
    let mut machine = Resources::cpus_mem(2_000, 2_048);
    machine.disk_milli = (2_048 + dice.below(100)) * MB_MILLI;
    machine
}
