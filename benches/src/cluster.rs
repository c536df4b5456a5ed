//! Clusters for the allocator: agents of different sizes, frameworks in twenty roles.

use std::time::Duration;

use mete_model::{AgentId, Attributes, FrameworkId, Ranges, Resources, Role, Timestamp};
use mete_placement::{Allocator, Policy};

use crate::dice::Dice;

/// When everything happens.
pub const NOON: Timestamp = Timestamp::from_millis(43_200_000);

/// How many roles frameworks are spread over.
const ROLES: usize = 20;

/// A cluster and the names in it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What is measured.
    pub allocator: Allocator,
    /// Names of agents.
    pub agents: Vec<AgentId>,
    /// Names of frameworks, each with its role.
    pub frameworks: Vec<(FrameworkId, Role)>,
}

/// Agents that nobody uses, none looked at by a round yet.
pub fn empty(agents: usize, frameworks: usize) -> Cluster {
    let mut dice = Dice::new(1);
    let mut cluster = Cluster {
        allocator: Allocator::new(Policy::BestFit),
        agents: Vec::new(),
        frameworks: Vec::new(),
    };
    for number in 0..frameworks {
        let id = FrameworkId::new(format!("8f3c2a-{number:04}")).expect("a good id");
        let role = Role::new(&format!("role-{}", number % ROLES)).expect("a good role");
        cluster
            .allocator
            .add_framework(id.clone(), [role.clone()].into());
        cluster.frameworks.push((id, role));
    }
    for number in 0..agents {
        let id = AgentId::new(format!("8f3c2a-S{number}")).expect("a good id");
        let total = machine(&mut dice);
        cluster
            .allocator
            .add_agent(id.clone(), total, Attributes::new());
        cluster.agents.push(id);
    }
    cluster
}

/// Each agent half used, by a framework drawn at random; the other half has not been looked at.
pub fn half_used(agents: usize, frameworks: usize) -> Cluster {
    let mut dice = Dice::new(2);
    let mut cluster = empty(agents, frameworks);
    for id in &cluster.agents {
        let free = cluster.allocator.free(id).expect("just added");
        let mut half = free.clone();
        half.cpus_milli /= 2;
        half.mem_bytes /= 2;
        half.disk_bytes /= 2;
        half.ports = Ranges::interval(31_000, 31_499);
        let at = dice.below(frameworks as u64) as usize;
        let (framework, role) = &cluster.frameworks[at];
        cluster.allocator.claim(id, framework, role, &half);
    }
    cluster
}

/// Everything is in use; who holds each agent, and all of it. A round was had, nothing is left to do.
pub fn wholly_used(agents: usize, frameworks: usize) -> (Cluster, Vec<(usize, Resources)>) {
    let mut cluster = empty(agents, frameworks);
    let mut holders = vec![(0, Resources::none()); agents];
    while cluster.allocator.wants_round() {
        for grant in cluster.allocator.round(NOON) {
            let agent = position(grant.agent.as_str());
            holders[agent] = (position(grant.framework.as_str()), grant.resources);
        }
    }
    (cluster, holders)
}

/// Each framework has declined each agent for as long as this.
pub const REFUSAL: Duration = Duration::from_secs(3_600);

/// The number a name of this cluster ends with.
pub fn position(name: &str) -> usize {
    let digits = name
        .trim_start_matches(|c| c != '-')
        .trim_start_matches(['-', 'S']);
    digits.parse().expect("names end with their number")
}

fn machine(dice: &mut Dice) -> Resources {
    // A hundred shapes: 4 to 40 CPUs, 2 to 20 GB for each four of them.
    let cpus = 4 * (1 + dice.below(10));
    let gigabytes = cpus / 4 * (2 + 2 * dice.below(10));
    let mut machine = Resources::cpus_mem(cpus * 1_000, gigabytes * 1_024)
        .with_ports(Ranges::interval(31_000, 31_999));
    machine.disk_bytes = 1 << 40;
    machine
}
