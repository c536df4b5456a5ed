//! Level one: keeps what is free on every agent and who may get it, and gives it away in rounds.
//!
//! What the master tells it: agents, frameworks, roles; what tasks use ([`Allocator::claim`],
//! [`Allocator::release`]); what came back of offers ([`Allocator::give_back`]). What it answers:
//! [`Allocator::round`], the offers to make. An offer's life, seen from here:
//!
//! ```text
//! free ──round──▶ held (on offer) ──task launched, nothing to tell──▶ held (in use) ──release──▶ free
//!                      └── declined, rescinded, or the rest of it: give_back ──▶ free
//! ```
//! Per agent, free and held make the total, unless tasks that came back use more than there is.
//! Names that are not known are passed over: a message may be older than what removed them.

mod agents; // what is there, who holds it, what is left
mod frameworks; // which roles they hold, and in which they want offers
mod line; // the agents a round looks at
mod reactions; // what an input brings with it
mod round; // give away what is free
mod views; // for people and metrics

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use mete_model::{AgentId, Attributes, FrameworkId, Resources, Role, Timestamp};

use crate::fairness::RoleTree;
use crate::filters::{Filters, MAX_REFUSAL};
use crate::packing::Policy;
use crate::quota::{Amounts, Quota};
use crate::slots::ClientSlot;
use agents::Agents;
use frameworks::Frameworks;
pub use views::RoleUsage;

/// The most agents one round looks at, so that a round of a huge cluster does not keep the master's
/// loop from everything else: some tens of milliseconds.
pub const MAX_AGENTS_PER_ROUND: usize = 32_768;

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

/// Quota was to be set for a role that is not at the top.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role {role} is below {}; quota is set on top-level roles only", .role.top_level())]
pub struct NotTopLevel {
    role: Role,
}

/// What the master knows of agents, frameworks and roles, as far as offers go.
#[derive(Clone, Debug)]
pub struct Allocator {
    agents: Agents,
    frameworks: Frameworks,
    tree: RoleTree,
    quota: Quota,
    filters: Filters,
    /// Clients that something happened to: they look at all agents in the next round.
    eager: BTreeSet<ClientSlot>,
}

impl Allocator {
    /// No agents, no frameworks.
    pub fn new(policy: Policy) -> Self {
        Self {
            agents: Agents::new(policy),
            frameworks: Frameworks::default(),
            tree: RoleTree::default(),
            quota: Quota::default(),
            filters: Filters::default(),
            eager: BTreeSet::new(),
        }
    }

    // --- agents

    /// An agent whose resources are all free, to be offered. One that is known is updated; when its
    /// attributes have changed, what was declined there may be offered again.
    pub fn add_agent(&mut self, id: AgentId, total: Resources, attributes: Attributes) {
        let Some(slot) = self.agents.find(&id) else {
            self.tree.set_total(|sum| sum.add(&total));
            self.agents.add(id, total, attributes);
            self.headroom_changed();
            return;
        };
        self.resize(slot, total);
        if self.agents.describe(slot, attributes) {
            self.clear_filters_on(slot);
        }
        self.set_offerable(slot, true);
    }

    /// An agent grows or shrinks. What is in use beyond the new total stays in use; nothing is free then.
    pub fn update_agent(&mut self, id: &AgentId, total: Resources) {
        if let Some(slot) = self.agents.find(id) {
            self.resize(slot, total);
        }
    }

    /// Forgets an agent with all that was held on it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(slot) = self.agents.find(id) else {
            return;
        };
        self.clear_filters_on(slot);
        self.agents.set_offerable(slot, false);
        for (client, part) in self.agents.get(slot).held.clone() {
            self.put_back(slot, client, &part);
        }
        let total = self.agents.remove(slot);
        self.tree.set_total(|sum| sum.remove(&total));
    }

    /// Whether the agent's free resources may be offered: no when it drains or is not heard of.
    pub fn set_agent_offerable(&mut self, id: &AgentId, offerable: bool) {
        if let Some(slot) = self.agents.find(id) {
            self.set_offerable(slot, offerable);
        }
    }

    // --- frameworks

    /// A framework: active, nothing suppressed, no filters. What was claimed for it before counts.
    pub fn add_framework(&mut self, id: FrameworkId, roles: BTreeSet<Role>) {
        let slot = self.frameworks.ensure(&id);
        let framework = self.frameworks.get_mut(slot);
        framework.known = true;
        framework.active = true;
        for held in framework.roles.values_mut() {
            held.suppressed = false;
        }
        self.clear_filters_of(slot, None);
        self.set_roles(slot, &roles);
    }

    /// It now holds these roles. What it has in a role it left is still counted there.
    pub fn update_roles(&mut self, id: &FrameworkId, roles: BTreeSet<Role>) {
        if let Some(slot) = self.known(id) {
            self.set_roles(slot, &roles);
        }
    }

    /// An inactive framework gets nothing, and its filters are cleared.
    pub fn set_framework_active(&mut self, id: &FrameworkId, active: bool) {
        let Some(slot) = self.known(id) else {
            return;
        };
        self.frameworks.get_mut(slot).active = active;
        if !active {
            self.clear_filters_of(slot, None);
        }
        self.settle(slot);
    }

    /// Forgets a framework; what it still has is released.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(slot) = self.frameworks.find(id) else {
            return;
        };
        let framework = self.frameworks.get_mut(slot);
        framework.known = false;
        framework.active = false;
        let clients: Vec<ClientSlot> = framework.roles.values().map(|held| held.client).collect();
        for held in framework.roles.values_mut() {
            held.subscribed = false;
        }
        self.clear_filters_of(slot, None);
        self.settle(slot);
        for client in clients {
            self.release_all(client);
        }
    }

    /// No offers in these roles until revived; `None`: in all its roles.
    pub fn suppress(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
        self.set_suppressed(id, roles, true);
    }

    /// Offers in these roles again, and their filters are cleared; `None`: in all its roles.
    pub fn revive(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
        self.set_suppressed(id, roles, false);
        if let Some(slot) = self.known(id) {
            self.clear_filters_of(slot, roles);
        }
    }

    // --- roles

    /// Thousandths; frameworks in the role get so much more than those in roles of weight 1000.
    pub fn set_weight(&mut self, role: &Role, weight_milli: NonZeroU32) {
        self.tree.set_weight(role, weight_milli);
    }

    /// At most so much for a top-level role and all below it; `None`: no limit.
    ///
    /// # Errors
    /// [`NotTopLevel`], and nothing is changed.
    pub fn set_limit(&mut self, role: &Role, limit: Option<Amounts>) -> Result<(), NotTopLevel> {
        self.change_quota(role, |quota, slot, _| quota.set_limit(slot, limit))
    }

    /// So much is kept for a top-level role and all below it; `None`: nothing.
    ///
    /// # Errors
    /// [`NotTopLevel`], and nothing is changed.
    pub fn set_guarantee(
        &mut self,
        role: &Role,
        guarantee: Option<Amounts>,
    ) -> Result<(), NotTopLevel> {
        self.change_quota(role, |quota, slot, tree| {
            quota.set_guarantee(slot, guarantee, &tree.node(slot).held);
        })
    }

    // --- resources

    /// In use by a task that came back with its agent: allowed beyond limits, beyond what is free, and
    /// for frameworks that are not known (yet).
    pub fn claim(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        let Some(agent) = self.agents.find(agent) else {
            return;
        };
        if resources.is_empty() {
            return;
        }
        let slot = self.frameworks.ensure(framework);
        let held = self.frameworks.ensure_role(slot, role, &mut self.tree);
        let client = held.client;
        self.agents.take(agent, client, resources);
        self.tree.claim(client, resources);
        self.note_quota(client);
        // What a guarantee no longer has to keep free may be more than what the claim took of it.
        self.headroom_changed();
    }

    /// A task ended: what it used is free. More than the framework holds there is not released.
    pub fn release(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        if let Some(agent) = self.agents.find(agent)
            && let Some(client) = self.frameworks.client(framework, role)
        {
            self.put_back(agent, client, resources);
        }
    }

    /// The unused part of an offer. Until `refuse_for` has passed (365 days at most) the framework is
    /// offered nothing on that agent in that role that is contained in it; zero: no such filter.
    pub fn give_back(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
        refuse_for: Duration,
    ) {
        let Some(agent) = self.agents.find(agent) else {
            return;
        };
        let Some(client) = self.frameworks.client(framework, role) else {
            return;
        };
        let is_served = self.frameworks.may_be_served(framework, role);
        if !refuse_for.is_zero() && !resources.is_empty() && is_served {
            let until = now + refuse_for.min(MAX_REFUSAL);
            self.filters.set(client, agent, resources.clone(), until);
        }
        self.put_back(agent, client, resources);
    }

    /// Whether something changed since the last round that could make the next one give something.
    pub fn wants_round(&self) -> bool {
        (self.agents.is_any_touched() || !self.eager.is_empty())
            && self.agents.is_any_ranked()
            && self.tree.is_anybody_in_line()
    }

    /// When the next filter runs out: time for a round.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.filters.next_deadline()
    }
}
