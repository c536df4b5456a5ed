//! Level one: keeps what is free on every agent and who may get it, and gives it away in rounds.
//!
//! What the master tells it: agents, frameworks, roles, demands; what tasks use ([`Allocator::claim`],
//! [`Allocator::launched`], [`Allocator::release`]); what came back of offers
//! ([`Allocator::give_back`], [`Allocator::give_back_all`], [`Allocator::answered`]). What it answers: [`Allocator::round`], the
//! offers to make. Resources, seen from here:
//!
//! ```text
//! free ──round──▶ on offer ──launched──▶ in use ──release──▶ free
//!                    └── declined, rescinded, or the rest of it: give_back ──▶ free
//! ```
//! Names that are not known are passed over: a message may be older than what removed them.

mod agent; // one: what is free, and who holds the rest
mod agents; // all: which may be offered, what is free on them
mod drafts; // offers before they have names
mod explain; // why somebody got what it got, or nothing
mod frameworks; // which roles they hold, what they say of themselves
mod judge; // whether a client may have something of an agent, and all that stands against it
mod line; // the agents a round looks at
mod reactions; // what an input brings with it
mod round; // give away what is free
mod rules; // what holds for one client wherever it is served
mod views; // for people and metrics
mod what_if; // what would be placed where, if
mod wishes; // what clients wait for, and what of it is on offer

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Resources, Role, Timestamp};
use smallvec::SmallVec;

use crate::demand::{Shape, ShapeId};
use crate::fairness::RoleTree;
use crate::filters::{Filters, MAX_REFUSAL};
use crate::packing::{Mix, Policy};
use crate::quota::{Amounts, Quota};
use crate::slots::{AgentSlot, ClientSlot};
use crate::sums::Sums;
pub use agent::{Admission, AgentFacts};
use agent::{Way, exclusive};
use agents::Agents;
pub use frameworks::FrameworkFacts;
use frameworks::Frameworks;
pub use line::{Rank, whole_rank};
use rules::AllRules;
pub use views::RoleUsage;
pub use what_if::{Moved, WhatIf, WhatIfAnswer, WhatIfShape};

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
    /// For how many tasks of which of its shapes; empty when the framework says nothing of its demand.
    pub units: Vec<(ShapeId, u32)>,
}

/// What of an offer was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unused<'a> {
    /// Where it is.
    pub agent: &'a AgentId,
    /// Who was offered it.
    pub framework: &'a FrameworkId,
    /// In which of its roles.
    pub role: &'a Role,
    /// How much.
    pub resources: &'a Resources,
}

impl Unused<'_> {
    /// Whether it was offered to the same framework in the same role, as far as a glance tells.
    fn is_of_same(&self, other: &Self) -> bool {
        self.framework.address() == other.framework.address() && self.role.is_same(other.role)
    }
}

/// So many offers are looked for together when many come back.
const AT_ONCE: usize = 32;

/// Quota was to be set for a role that is not at the top.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role {role} is below {}; quota is set on top-level roles only", .role.top_level())]
pub struct NotTopLevel {
    role: Role,
}

/// What was to be changed is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReshapeError {
    /// No such agent.
    #[error("agent {0} is not known")]
    UnknownAgent(AgentId),
    /// No such framework, or not in that role.
    #[error("framework {framework} has no offer in role {role}")]
    NoOffer {
        /// Which.
        framework: FrameworkId,
        /// In which role.
        role: Role,
    },
    /// A change of nature leaves the amounts as they are.
    #[error("{from} cannot become {to}: the amounts differ")]
    Unequal {
        /// What is to be changed.
        from: Box<Resources>,
        /// What it is to become.
        to: Box<Resources>,
    },
    /// Less is there than is to be changed.
    #[error("{asked} are to be changed, {there} are there")]
    NotThere {
        /// What is to be changed.
        asked: Box<Resources>,
        /// What is there.
        there: Box<Resources>,
    },
}

/// How the operator wants it, for as long as the allocator lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The policy of roles that none is set for.
    pub policy: Policy,
    /// The master's own: agents of other regions are for frameworks that understand it. `None`: no region is special.
    pub region: Option<String>,
}

/// What the master knows of agents, frameworks and roles, as far as offers go.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    agents: Agents,
    frameworks: Frameworks,
    rules: AllRules,
    tree: RoleTree,
    quota: Quota,
    /// All that is reserved on agents, by top-level role.
    reserved: BTreeMap<Role, Sums>,
    filters: Filters,
    mix: Mix,
    policy: Policy,
    /// The cluster's when nothing was set.
    first_policy: Policy,
    policies: BTreeMap<Role, Policy>,
    region: Option<String>,
    /// Clients that something happened to: they look at all agents in the next round.
    eager: Vec<ClientSlot>,
    rounds: u64,
    /// The last round was ended early.
    is_unfinished: bool,
    units_granted: u64,
    shapes_named: u64,
}

impl Allocator {
    /// No agents, no frameworks.
    pub fn new(options: Options) -> Self {
        Self {
            policy: options.policy,
            first_policy: options.policy,
            region: options.region,
            ..Self::default()
        }
    }

    // --- agents

    /// An agent whose resources are all free, to be offered. One that is known is updated; when what it
    /// says of itself has changed, what was declined there may be offered again.
    pub fn add_agent(&mut self, id: AgentId, facts: AgentFacts) {
        self.count_reserved(&facts.total, true);
        let Some(slot) = self.agents.find(&id) else {
            self.tree.set_total(|sum| sum.add(&facts.total));
            let total = facts.total.clone();
            let slot = self.agents.add(id, facts);
            self.mix.add_machine(&total, self.agents.get(slot).group);
            return;
        };
        let before = self.agents.get(slot).facts.total.clone();
        self.count_reserved(&before, false);
        self.resize(slot, facts.total.clone());
        let group = self.agents.get(slot).group;
        if self.agents.describe(slot, facts) {
            self.filters.clear_agent(slot);
            let agent = self.agents.get(slot);
            self.mix.remove_machine(&agent.facts.total, group);
            self.mix.add_machine(&agent.facts.total, agent.group);
        }
        self.agents.set_admission(slot, Admission::Offerable);
    }

    /// An agent grows or shrinks. What is in use beyond the new total stays in use; nothing is free then.
    pub fn update_agent(&mut self, id: &AgentId, total: Resources) {
        if let Some(slot) = self.agents.find(id) {
            let before = self.agents.get(slot).facts.total.clone();
            self.count_reserved(&before, false);
            self.count_reserved(&total, true);
            self.resize(slot, total);
        }
    }

    /// Forgets an agent with all that was held on it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(slot) = self.agents.find(id) else {
            return;
        };
        self.filters.clear_agent(slot);
        self.agents.set_admission(slot, Admission::Away);
        for way in [Way::Offered, Way::Used] {
            for (client, part) in self.agents.held_on(slot, way) {
                self.put_back(slot, client, way, &part);
            }
        }
        self.rules.forget_agent(slot);
        let group = self.agents.get(slot).group;
        let total = self.agents.remove(slot);
        self.mix.remove_machine(&total, group);
        self.count_reserved(&total, false);
        self.tree.set_total(|sum| sum.remove(&total));
    }

    /// Whether the agent's free resources may be offered.
    pub fn set_admission(&mut self, id: &AgentId, admission: Admission) {
        if let Some(slot) = self.agents.find(id) {
            self.agents.set_admission(slot, admission);
        }
    }

    // --- frameworks

    /// A framework: active, nothing suppressed, no filters, nothing said of its demand. What was claimed
    /// for it before counts.
    pub fn add_framework(&mut self, id: FrameworkId, facts: FrameworkFacts) {
        let slot = self.frameworks.ensure(&id);
        let framework = self.frameworks.get_mut(slot);
        framework.known = true;
        framework.active = true;
        framework.demand = None;
        for held in framework.roles.values_mut() {
            held.suppressed = false;
        }
        self.clear_filters_of(slot, None);
        self.describe(slot, facts);
    }

    /// What it says of itself from now on. What it has in a role it left is still counted there.
    pub fn update_framework(&mut self, id: &FrameworkId, facts: FrameworkFacts) {
        if let Some(slot) = self.known(id) {
            self.describe(slot, facts);
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
        framework.demand = None;
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

    /// What the framework is waiting to run, most urgent first; replaces what it said before. From now on it is offered
    /// just that, until it subscribes anew. Shapes for a role that it does not hold are passed over.
    pub fn set_demand(&mut self, id: &FrameworkId, shapes: Vec<Shape>) {
        let Some(slot) = self.known(id) else {
            return;
        };
        self.frameworks.get_mut(slot).demand = Some(Arc::from(shapes));
        self.spread_demand(slot);
        self.settle(slot);
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
        self.change_quota(role, |quota, slot, charged| {
            quota.set_guarantee(slot, guarantee, charged);
        })
    }

    /// How places are chosen: for a role and all below it that have none of their own, or for the cluster (`role` is
    /// `None`). `policy: None` goes back to what holds one level up; for the cluster, to what it was made with.
    pub fn set_policy(&mut self, role: Option<&Role>, policy: Option<Policy>) {
        match (role, policy) {
            (None, policy) => self.policy = policy.unwrap_or(self.first_policy),
            (Some(role), Some(policy)) => {
                self.policies.insert(role.clone(), policy);
            }
            (Some(role), None) => {
                self.policies.remove(role);
            }
        }
        let clients: Vec<ClientSlot> = self.tree.clients().map(|(client, _)| client).collect();
        for client in clients {
            let policy = self.policy_of(&self.rules.get(client).role);
            self.rules.get_mut(client).policy = policy;
        }
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
        let resources = exclusive(resources);
        if resources.is_empty() {
            return;
        }
        // Which GPUs it has is not always said.
        let pinned = self.agents.get(agent).free().pin(&resources);
        let resources = pinned.map_or(resources, Cow::Owned);
        let slot = self.frameworks.ensure(framework);
        let client = self.ensure_client(slot, role);
        let gained = self.agents.claim(agent, client, &resources);
        self.tree.claim(client, &gained);
        self.note_quota(client);
    }

    /// A task was started with part of an offer: that much is in use from now on, not on offer.
    pub fn launched(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        if let Some(agent) = self.agents.find(agent)
            && let Some(client) = self.frameworks.client(framework, role)
        {
            self.agents.launch(agent, client, &exclusive(resources));
        }
    }

    /// A task ended: what it used is free. More than the framework uses there is not released.
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
            self.agents.bring_all_near(agent);
            self.put_back(agent, client, Way::Used, &exclusive(resources));
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
        let agent = self.agents.find(agent);
        if let Some(agent) = agent
            && let Some(whose) = self.frameworks.served_client(framework, role)
        {
            self.take_back(now, agent, whose, resources, refuse_for);
        }
    }

    /// The unused parts of many offers, as with [`Self::give_back`] one after the other; faster, because memory is waited
    /// for once for many of them.
    pub fn give_back_all(&mut self, now: Timestamp, parts: &[Unused<'_>], refuse_for: Duration) {
        for some in parts.chunks(AT_ONCE) {
            let agents = some.iter().map(|part| self.agents.find(part.agent));
            let agents: SmallVec<[Option<AgentSlot>; AT_ONCE]> = agents.collect();
            self.agents.bring_near(agents.iter().copied().flatten());
            self.filters.bring_near(agents.iter().copied().flatten());
            let mut last = None;
            for (part, agent) in some.iter().zip(agents) {
                // Mostly all are of one framework, and while it is served it has its client.
                let whose = match last {
                    Some((before, whose)) if part.is_of_same(before) => Some(whose),
                    _ => self.frameworks.served_client(part.framework, part.role),
                };
                last = whose
                    .filter(|(_, is_served)| *is_served)
                    .map(|whose| (part, whose));
                if let (Some(agent), Some(whose)) = (agent, whose) {
                    self.take_back(now, agent, whose, part.resources, refuse_for);
                }
            }
        }
    }

    /// `whose`: the client, and whether it is served now.
    fn take_back(
        &mut self,
        now: Timestamp,
        agent: AgentSlot,
        (client, is_served): (ClientSlot, bool),
        resources: &Resources,
        refuse_for: Duration,
    ) {
        if is_served && !refuse_for.is_zero() && !resources.is_empty() {
            let until = now + refuse_for.min(MAX_REFUSAL);
            self.filters.set(client, agent, resources, until);
        }
        self.put_back(agent, client, Way::Offered, &exclusive(resources));
    }

    /// An offer that was made for tasks of the framework's shapes is over. `launched` of them, the first in the order of
    /// `units`, run now and do not wait any more; the others wait again.
    pub fn answered(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        units: &[(ShapeId, u32)],
        launched: u32,
    ) {
        let Some(client) = self.frameworks.client(framework, role) else {
            return;
        };
        let agent = self.agents.find(agent);
        let Some(wishes) = &mut self.rules.get_mut(client).wishes else {
            return;
        };
        let framework = self.tree.client(client).framework;
        let demand = self.frameworks.get_mut(framework).demand.as_mut();
        let demand = demand.map(Arc::make_mut).unwrap_or_default();
        let mut launched = launched;
        // Where all of it runs, nothing waits that did not wait before: other agents have been refused to it already.
        let mut may_go_elsewhere = false;
        for &(id, units) in units {
            if let Some(shape) = wishes.shape(id) {
                count_less(demand, &shape, launched.min(units));
                may_go_elsewhere |= launched < units || shape.max_per_agent.is_some();
            }
            wishes.answer(id, agent, units, launched);
            launched = launched.saturating_sub(units);
        }
        if may_go_elsewhere {
            self.look_again(client);
        }
        self.settle(framework);
    }

    /// Part of what is on offer to a framework changes its nature: is reserved, or a volume, or not any more. The agent's
    /// total and what is on offer change with it.
    ///
    /// # Errors
    /// [`ReshapeError`] says what is not there, and nothing is changed.
    pub fn reshape(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        from: &Resources,
        to: &Resources,
    ) -> Result<(), ReshapeError> {
        is_as_much(from, to)?;
        let slot = self
            .agents
            .find(agent)
            .ok_or_else(|| ReshapeError::UnknownAgent(agent.clone()))?;
        let no_offer = || ReshapeError::NoOffer {
            framework: framework.clone(),
            role: role.clone(),
        };
        let client = self
            .frameworks
            .client(framework, role)
            .ok_or_else(no_offer)?;
        let held = self.agents.held_by(slot, client, Way::Offered);
        is_there(held.ok_or_else(no_offer)?, &exclusive(from))?;
        is_there(&self.agents.get(slot).facts.total, from)?;
        let before = self.agents.get(slot).facts.total.clone();
        self.agents.reshape(slot, client, from, to);
        self.tree.release(client, &exclusive(from));
        self.tree.claim(client, &exclusive(to));
        self.total_changed(slot, &before);
        self.note_quota(client);
        if self.agents.holdings(client) == 0 {
            self.prune(self.tree.client(client).framework);
        }
        Ok(())
    }

    /// Part of what is free on an agent changes its nature, as with [`Self::reshape`].
    ///
    /// # Errors
    /// [`ReshapeError`] says what is not there, and nothing is changed.
    pub fn reshape_free(
        &mut self,
        agent: &AgentId,
        from: &Resources,
        to: &Resources,
    ) -> Result<(), ReshapeError> {
        is_as_much(from, to)?;
        let slot = self
            .agents
            .find(agent)
            .ok_or_else(|| ReshapeError::UnknownAgent(agent.clone()))?;
        is_there(self.agents.get(slot).free(), from)?;
        is_there(&self.agents.get(slot).facts.total, from)?;
        let before = self.agents.get(slot).facts.total.clone();
        self.agents.reshape_free(slot, from, to);
        self.total_changed(slot, &before);
        Ok(())
    }

    /// Whether something changed since the last round that could make the next one give something.
    pub fn wants_round(&self) -> bool {
        let is_news = self.agents.is_any_touched() || !self.eager.is_empty();
        let may_give = is_news && self.tree.in_line() > 0 || self.is_somebody_let_in();
        may_give && self.agents.is_any_giving()
    }

    /// Whether those that nothing could be given to because of their roles' rooms may be given something now: there is
    /// more beyond all guarantees, or something that does not count.
    fn is_somebody_let_in(&self) -> bool {
        self.quota.has_more_headroom(self.agents.free())
            || (self.tree.is_any_shut_out() && !self.agents.special().is_empty())
    }

    /// Time for a round: when a filter runs out, at the latest; at once when the last round left something undone.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.is_unfinished {
            return Some(Timestamp::EPOCH);
        }
        self.filters.next_deadline()
    }
}

fn is_as_much(from: &Resources, to: &Resources) -> Result<(), ReshapeError> {
    if from.flat() == to.flat() {
        return Ok(());
    }
    Err(ReshapeError::Unequal {
        from: Box::new(from.clone()),
        to: Box::new(to.clone()),
    })
}

fn is_there(there: &Resources, asked: &Resources) -> Result<(), ReshapeError> {
    if there.contains(asked) {
        return Ok(());
    }
    Err(ReshapeError::NotThere {
        asked: Box::new(asked.clone()),
        there: Box::new(there.clone()),
    })
}

/// So many of a shape do not wait any more.
fn count_less(demand: &mut [Shape], shape: &Shape, launched: u32) {
    let waiting = demand
        .iter_mut()
        .find(|waiting| waiting.count > 0 && waiting.is_same_kind(shape));
    if let Some(waiting) = waiting {
        waiting.count = waiting.count.saturating_sub(launched);
    }
}
