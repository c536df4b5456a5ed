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
use crate::slots::{AgentSlot, ClientSlot, FrameworkSlot, RoleSlot};
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
            self.free_grew();
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

/// What the inputs above are made of.
impl Allocator {
    fn known(&self, id: &FrameworkId) -> Option<FrameworkSlot> {
        let slot = self.frameworks.find(id)?;
        self.frameworks.get(slot).known.then_some(slot)
    }

    fn resize(&mut self, slot: AgentSlot, total: Resources) {
        let before = self.agents.resize(slot, total.clone());
        if before != total {
            self.tree.set_total(|sum| {
                sum.remove(&before);
                sum.add(&total);
            });
            self.free_grew();
        }
    }

    fn set_offerable(&mut self, slot: AgentSlot, offerable: bool) {
        self.agents.set_offerable(slot, offerable);
        self.free_grew();
    }

    fn set_roles(&mut self, slot: FrameworkSlot, roles: &BTreeSet<Role>) {
        let mut left = Vec::new();
        for (role, held) in &mut self.frameworks.get_mut(slot).roles {
            held.subscribed = roles.contains(role);
            if !held.subscribed {
                held.suppressed = false;
                left.push(held.client);
            }
        }
        for client in left {
            self.filters.clear_client(client);
        }
        for role in roles {
            let held = self.frameworks.ensure_role(slot, role, &mut self.tree);
            held.subscribed = true;
        }
        self.settle(slot);
    }

    fn set_suppressed(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>, value: bool) {
        let Some(slot) = self.known(id) else {
            return;
        };
        for (role, held) in &mut self.frameworks.get_mut(slot).roles {
            if roles.is_none_or(|roles| roles.contains(role)) {
                held.suppressed = value;
            }
        }
        self.settle(slot);
    }

    /// Puts a framework's clients in line or takes them out, and forgets those that are over.
    fn settle(&mut self, slot: FrameworkSlot) {
        let framework = self.frameworks.get(slot);
        for held in framework.roles.values() {
            if framework.active && held.subscribed && !held.suppressed {
                if self.tree.join(held.client) {
                    self.eager.insert(held.client);
                }
            } else {
                self.tree.leave(held.client);
                self.eager.remove(&held.client);
            }
        }
        let agents = &self.agents;
        self.frameworks
            .prune(slot, &mut self.tree, |client| agents.holdings(client));
    }

    fn clear_filters_of(&mut self, slot: FrameworkSlot, roles: Option<&BTreeSet<Role>>) {
        for (role, held) in &self.frameworks.get(slot).roles {
            if roles.is_none_or(|roles| roles.contains(role))
                && self.filters.clear_client(held.client)
                && self.tree.is_in_line(held.client)
            {
                self.eager.insert(held.client);
            }
        }
    }

    fn clear_filters_on(&mut self, agent: AgentSlot) {
        for (client, _) in self.tree.clients() {
            self.filters.clear(client, agent);
        }
    }

    fn put_back(&mut self, agent: AgentSlot, client: ClientSlot, resources: &Resources) {
        if let Some(part) = self.agents.put_back(agent, client, resources) {
            self.holds_less(client, &part);
        }
    }

    fn release_all(&mut self, client: ClientSlot) {
        if self.agents.holdings(client) == 0 {
            return;
        }
        let slots: Vec<AgentSlot> = self.agents.slots().collect();
        for agent in slots {
            if let Some(held) = self.agents.held_by(agent, client) {
                let held = held.clone();
                self.put_back(agent, client, &held);
            }
        }
    }

    /// A client holds less on some agent; it may have been the last it had, and its role may have room
    /// again.
    fn holds_less(&mut self, client: ClientSlot, part: &Resources) {
        self.tree.release(client, part);
        self.note_quota(client);
        let top = self.tree.top_of(client);
        self.wake(Some(top));
        let framework = self.tree.client(client).framework;
        if self.agents.holdings(client) == 0 {
            let agents = &self.agents;
            self.frameworks
                .prune(framework, &mut self.tree, |client| agents.holdings(client));
        }
    }

    fn note_quota(&mut self, client: ClientSlot) {
        let top = self.tree.top_of(client);
        self.quota.note_held(top, &self.tree.node(top).held);
    }

    fn change_quota(
        &mut self,
        role: &Role,
        change: impl FnOnce(&mut Quota, RoleSlot, &RoleTree),
    ) -> Result<(), NotTopLevel> {
        if role.parent().is_some() {
            return Err(NotTopLevel { role: role.clone() });
        }
        let slot = self.tree.set_has_quota(role, true);
        change(&mut self.quota, slot, &self.tree);
        let is_set = self.quota.is_set(slot);
        self.wake(None);
        self.tree.set_has_quota(role, is_set);
        Ok(())
    }

    /// More is free: with guarantees around, that may be for anybody.
    fn free_grew(&mut self) {
        if self.quota.keeps_headroom() {
            self.wake(None);
        }
    }

    /// Clients that a limit or the headroom kept from something look again: those of one top-level
    /// role, or all.
    fn wake(&mut self, role: Option<RoleSlot>) {
        let roles = self.quota.take_held_back(role);
        if roles.is_empty() {
            return;
        }
        for (client, _) in self.tree.clients() {
            if self.tree.is_in_line(client) && roles.contains(&self.tree.top_of(client)) {
                self.eager.insert(client);
            }
        }
    }
}
