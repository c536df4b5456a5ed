//! Level one: keeps what is free on every agent and who may get it, and gives it away in rounds.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use mete_model::{AgentId, Attributes, FrameworkId, Resources, Role, Timestamp};

use crate::packing::Policy;
use crate::quota::Amounts;

/// Resources given to a framework by a round: an offer to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: Role,
    /// On which agent.
    pub agent: AgentId,
    /// How much.
    pub resources: Resources,
}

/// One role, for views and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleUsage {
    /// Which.
    pub role: Role,
    /// Thousandths; 1000 unless set.
    pub weight_milli: NonZeroU32,
    /// At most so much; top-level roles only.
    pub limit: Option<Amounts>,
    /// So much is kept for it; top-level roles only.
    pub guarantee: Option<Amounts>,
    /// Scalars on offer to or in use by frameworks in this role or below it.
    pub allocated: Resources,
    /// Dominant share of that in all agents, not divided by the weight.
    pub share: f64,
    /// How many frameworks hold this role.
    pub frameworks: usize,
}

/// What the master knows of agents, frameworks and roles, as far as offers go.
#[derive(Clone, Debug)]
pub struct Allocator {
    policy: Policy,
}

#[expect(
    unused_variables,
    clippy::missing_const_for_fn,
    reason = "bodies follow"
)]
impl Allocator {
    /// No agents, no frameworks.
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// An agent whose resources are all free, to be offered. One that is known is updated.
    pub fn add_agent(&mut self, id: AgentId, total: Resources, attributes: Attributes) {}

    /// An agent grows or shrinks. What is in use beyond the new total stays in use; nothing is free then.
    pub fn update_agent(&mut self, id: &AgentId, total: Resources) {}

    /// Forgets an agent with all that was allocated on it.
    pub fn remove_agent(&mut self, id: &AgentId) {}

    /// Whether the agent's free resources may be offered: no when it drains or is not heard of.
    pub fn set_agent_offerable(&mut self, id: &AgentId, offerable: bool) {}

    /// A framework: active, nothing suppressed. What was claimed for it before counts.
    pub fn add_framework(&mut self, id: FrameworkId, roles: BTreeSet<Role>) {}

    /// It now holds these roles. What it has in a role it left is still counted there.
    pub fn update_roles(&mut self, id: &FrameworkId, roles: BTreeSet<Role>) {}

    /// An inactive framework gets nothing, and its filters are cleared.
    pub fn set_framework_active(&mut self, id: &FrameworkId, active: bool) {}

    /// Forgets a framework; what it still has is released.
    pub fn remove_framework(&mut self, id: &FrameworkId) {}

    /// No offers in these roles until revived; `None`: in all its roles.
    pub fn suppress(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {}

    /// Offers in these roles again, and their filters are cleared; `None`: in all its roles.
    pub fn revive(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {}

    /// Thousandths; frameworks in the role get so much more than those in roles of weight 1000.
    pub fn set_weight(&mut self, role: &Role, weight_milli: NonZeroU32) {}

    /// At most so much for a top-level role and all below it.
    pub fn set_limit(&mut self, role: &Role, limit: Option<Amounts>) {}

    /// So much is kept for a top-level role and all below it.
    pub fn set_guarantee(&mut self, role: &Role, guarantee: Option<Amounts>) {}

    /// In use by a task that came back with its agent: allowed beyond limits and for frameworks that
    /// are not known (yet).
    pub fn claim(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
    }

    /// A task ended: what it used is free.
    pub fn release(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
    }

    /// The unused part of an offer. Until `refuse_for` has passed the framework is offered nothing on
    /// that agent in that role that is contained in it; zero: no such filter.
    pub fn give_back(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
        refuse_for: Duration,
    ) {
    }

    /// Gives away what may be given and takes it from the agents: the fairest first, re-evaluated
    /// after each grant.
    pub fn round(&mut self, now: Timestamp) -> Vec<Grant> {
        Vec::new()
    }

    /// Whether something changed since the last round that could make the next one give something.
    pub fn wants_round(&self) -> bool {
        false
    }

    /// When the next filter runs out: time for a round.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Dominant share of a framework over all its roles; `None` when it is not known.
    pub fn share(&self, framework: &FrameworkId) -> Option<f64> {
        None
    }

    /// Every role that is held or configured, in order of name.
    pub fn role_usage(&self) -> Vec<RoleUsage> {
        Vec::new()
    }

    /// Scalars of all agents.
    pub fn total(&self) -> Resources {
        Resources::none()
    }

    /// Scalars on offer or in use.
    pub fn allocated(&self) -> Resources {
        Resources::none()
    }

    /// What is free on an agent.
    pub fn free(&self, agent: &AgentId) -> Option<&Resources> {
        None
    }

    /// How many filters are set.
    pub fn filters(&self) -> usize {
        0
    }
}
