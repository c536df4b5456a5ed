//! Clusters for the allocator: what is in them by name and by number, and what happens to them. Those of
//! our own measure are made here: agents of a hundred sizes, frameworks in twenty roles.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, MB_MILLI, Ranges, Resources, Role, Timestamp};
use mete_placement::{AgentFacts, Allocator, Amounts, FrameworkFacts, Grant, Options, Unused};

use crate::dice::Dice;

/// When everything happens.
pub const NOON: Timestamp = Timestamp::from_millis(43_200_000);

/// A cluster and the names in it; agents and frameworks are called by their place in these lists.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What is measured.
    pub allocator: Allocator,
    /// Names of agents.
    pub agents: Vec<AgentId>,
    /// Names of frameworks, each with its role.
    pub frameworks: Vec<(FrameworkId, Role)>,
}

/// How frameworks are spread over roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// All in `*`.
    One,
    /// All in twenty roles.
    Twenty,
    /// Each in one of its own.
    Own,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// Nothing in it; the policy is the default one.
    pub fn new() -> Self {
        Self {
            allocator: Allocator::new(Options::default()),
            agents: Vec::new(),
            frameworks: Vec::new(),
        }
    }

    /// An agent comes that nobody uses.
    pub fn add_agent(&mut self, total: Resources) {
        let id =
            AgentId::new(format!("8f3c2a-S{}", self.agents.len())).expect("made of good letters");
        self.allocator.add_agent(id.clone(), AgentFacts::new(total));
        self.agents.push(id);
    }

    /// So many frameworks come; they say nothing of what they want.
    pub fn add_frameworks(&mut self, count: usize, roles: Roles) {
        for _ in 0..count {
            let number = self.frameworks.len();
            let role = match roles {
                Roles::One => Role::any(),
                Roles::Twenty => role(&format!("role-{}", number % 20)),
                Roles::Own => role(&format!("role-{number}")),
            };
            self.add_framework(framework_id(&format!("8f3c2a-{number:04}")), role);
        }
    }

    /// One framework comes; it says nothing of what it wants.
    pub fn add_framework(&mut self, id: FrameworkId, role: Role) {
        self.allocator
            .add_framework(id.clone(), FrameworkFacts::in_roles([role.clone()]));
        self.frameworks.push((id, role));
    }

    /// All frameworks leave with what they hold.
    pub fn remove_frameworks(&mut self) {
        for (id, _) in self.frameworks.drain(..) {
            self.allocator.remove_framework(&id);
        }
    }

    /// So much is kept for the role, and more it may not have.
    pub fn set_quota(&mut self, role: &Role, amounts: &Resources) {
        let amounts = Amounts::from(amounts);
        self.allocator
            .set_guarantee(role, Some(amounts.clone()))
            .and_then(|()| self.allocator.set_limit(role, Some(amounts)))
            .expect("a role at the top");
    }

    /// The agent has another size.
    pub fn resize(&mut self, agent: usize, total: Resources) {
        self.allocator.update_agent(&self.agents[agent], total);
    }

    /// A task of the framework runs on the agent.
    pub fn claim(&mut self, agent: usize, framework: usize, task: &Resources) {
        let (id, role) = &self.frameworks[framework];
        self.allocator.claim(&self.agents[agent], id, role, task);
    }

    /// A task of the framework has ended.
    pub fn release(&mut self, agent: usize, framework: usize, task: &Resources) {
        let (id, role) = &self.frameworks[framework];
        self.allocator.release(&self.agents[agent], id, role, task);
    }

    /// A task was started with part of an offer.
    pub fn launch(&mut self, offer: &Grant, task: &Resources) {
        self.allocator
            .launched(&offer.agent, &offer.framework, &offer.role, task);
    }

    /// Gives away all there is: a round, and as many more as are needed to look at all agents.
    pub fn give_away(&mut self, now: Timestamp) -> Vec<Grant> {
        let mut grants = self.allocator.round(now);
        while self.allocator.wants_round() {
            grants.append(&mut self.allocator.round(now));
        }
        grants
    }

    /// A part of an offer is not used, and not wanted again until `refuse_for` has passed.
    pub fn give_back(
        &mut self,
        now: Timestamp,
        grant: &Grant,
        part: &Resources,
        refuse_for: Duration,
    ) {
        self.allocator.give_back(
            now,
            &grant.agent,
            &grant.framework,
            &grant.role,
            part,
            refuse_for,
        );
    }

    /// Offers are declined whole, call by call.
    pub fn decline(&mut self, now: Timestamp, calls: &[Vec<Grant>], refuse_for: Duration) {
        for offers in calls {
            let unused = offers.iter().map(|offer| Unused {
                agent: &offer.agent,
                framework: &offer.framework,
                role: &offer.role,
                resources: &offer.resources,
            });
            let unused: Vec<Unused<'_>> = unused.collect();
            self.allocator.give_back_all(now, &unused, refuse_for);
        }
    }
}

/// The offers in the DECLINE calls they come back with: each framework answers all of its own, in an order of its own.
pub fn calls(mut offers: Vec<Grant>, dice: &mut Dice) -> Vec<Vec<Grant>> {
    dice.shuffle(&mut offers);
    let mut calls = BTreeMap::<FrameworkId, Vec<Grant>>::new();
    for offer in offers {
        calls
            .entry(offer.framework.clone())
            .or_default()
            .push(offer);
    }
    let mut calls: Vec<Vec<Grant>> = calls.into_values().collect();
    dice.shuffle(&mut calls);
    calls
}

/// The name of a framework.
pub fn framework_id(name: &str) -> FrameworkId {
    FrameworkId::new(name).expect("a good id")
}

/// A role.
pub fn role(name: &str) -> Role {
    Role::new(name).expect("a good role")
}

/// Agents that nobody uses, none looked at by a round yet.
pub fn empty(agents: usize, frameworks: usize) -> Cluster {
    let mut dice = Dice::new(1);
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, Roles::Twenty);
    for _ in 0..agents {
        cluster.add_agent(machine(&mut dice));
    }
    cluster
}

/// Each agent half used, by a framework drawn at random; the other half has not been looked at.
pub fn half_used(agents: usize, frameworks: usize) -> Cluster {
    let mut dice = Dice::new(2);
    let mut cluster = empty(agents, frameworks);
    for agent in 0..agents {
        let free = cluster.allocator.free(&cluster.agents[agent]);
        let mut half = free.expect("just added").clone();
        half.cpus_milli /= 2;
        half.mem_milli /= 2;
        half.disk_milli /= 2;
        half.ports = Ranges::interval(31_000, 31_499);
        cluster.claim(agent, dice.index(frameworks), &half);
    }
    cluster
}

/// Everything is in use; who holds each agent, and all of it. A round was had, nothing is left to do.
pub fn wholly_used(agents: usize, frameworks: usize) -> (Cluster, Vec<(usize, Resources)>) {
    let mut cluster = empty(agents, frameworks);
    let mut holders = vec![(0, Resources::none()); agents];
    for grant in cluster.give_away(NOON) {
        cluster.launch(&grant, &grant.resources);
        let agent = position(grant.agent.as_str());
        holders[agent] = (position(grant.framework.as_str()), grant.resources);
    }
    (cluster, holders)
}

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
    machine.disk_milli = MB_MILLI << 20;
    machine
}
