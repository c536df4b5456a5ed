//! An allocator that is obviously right: plain tables, everything computed anew for each grant, every
//! agent and every client looked at. It is told what the real one is told, in the same words.
//!
//! It shares with the real one only what is defined elsewhere: resources, amounts, scores of places,
//! the choice of ports, constraints.

mod accounts; // what is free, held, charged; how much room a role has
mod demand; // what frameworks wait for, and what of it is on offer
mod judge; // what a client may have of an agent
mod order; // who is next
mod round; // give away what is free

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use mete_model::{AgentId, Devices, FrameworkId, Resources, Role, Timestamp};
use mete_placement::filters::MAX_REFUSAL;
use mete_placement::packing::Mix;
use mete_placement::{
    Admission, AgentFacts, Amounts, FrameworkFacts, Options, Policy, Shape, ShapeId,
};

pub(crate) use accounts::amounts;
use demand::Wish;
use order::Turns;

/// What was asked for is not there, or not allowed.
#[derive(Debug)]
pub(crate) struct Refused;

/// A framework in one of its roles.
pub(crate) type Client = (FrameworkId, Role);

/// Filters of one client on one agent; beyond that the one that ends first goes.
const MAX_FILTERS_PER_AGENT: usize = 8;

#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) facts: AgentFacts,
    pub(crate) admission: Admission,
    group: u16,
    pub(crate) offered: BTreeMap<Client, Resources>,
    pub(crate) used: BTreeMap<Client, Resources>,
}

#[derive(Clone, Default)]
pub(crate) struct Framework {
    known: bool,
    active: bool,
    facts: FrameworkFacts,
    /// The roles it takes offers in, and whether they are suppressed.
    roles: BTreeMap<Role, bool>,
    demand: Option<Vec<Shape>>,
    /// Of the roles for which something was said of its demand.
    wishes: BTreeMap<Role, Vec<Wish>>,
}

#[derive(Clone)]
struct Filter {
    client: Client,
    agent: usize,
    refused: Resources,
    until: Timestamp,
}

#[derive(Clone, Default)]
pub(crate) struct Naive {
    options: Options,
    /// By slot: places of agents that went are taken again, the last that became vacant first.
    pub(crate) agents: Vec<Option<Agent>>,
    vacant: Vec<usize>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    filters: Vec<Filter>,
    weights: BTreeMap<Role, u32>,
    limits: BTreeMap<Role, Amounts>,
    guarantees: BTreeMap<Role, Amounts>,
    /// The operator's, instead of the one in the options.
    policy: Option<Policy>,
    policies: BTreeMap<Role, Policy>,
    turns: Turns,
    mix: Mix,
    groups: BTreeMap<String, u16>,
    any_is_enough: bool,
    units_granted: u64,
    shapes_named: u64,
}

/// The same questions and answers as of the real one.
impl Naive {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    pub(crate) fn add_agent(&mut self, id: AgentId, facts: AgentFacts) {
        if let Some(slot) = self.slot(&id) {
            self.resize(slot, facts.total.clone());
            let agent = self.agent_mut(slot);
            agent.admission = Admission::Offerable;
            if agent.facts != facts {
                agent.facts = facts;
                self.filters.retain(|filter| filter.agent != slot);
                self.regroup(slot);
            }
            return;
        }
        let agent = Agent {
            id,
            facts,
            admission: Admission::Offerable,
            group: 0,
            offered: BTreeMap::new(),
            used: BTreeMap::new(),
        };
        let slot = self.vacant.pop().unwrap_or(self.agents.len());
        if slot == self.agents.len() {
            self.agents.push(None);
        }
        self.agents[slot] = Some(agent);
        let group = self.group_of(slot);
        let agent = self.agents[slot].as_mut().expect("it was just put there");
        agent.group = group;
        self.mix.add_machine(&agent.facts.total, group);
    }

    pub(crate) fn update_agent(&mut self, id: &AgentId, total: Resources) {
        if let Some(slot) = self.slot(id) {
            self.resize(slot, total);
        }
    }

    pub(crate) fn remove_agent(&mut self, id: &AgentId) {
        let Some(slot) = self.slot(id) else { return };
        let agent = self.agent(slot);
        let (total, group) = (agent.facts.total.clone(), agent.group);
        self.mix.remove_machine(&total, group);
        self.agents[slot] = None;
        self.vacant.push(slot);
        self.filters.retain(|filter| filter.agent != slot);
        for framework in self.frameworks.values_mut() {
            for wish in framework.wishes.values_mut().flatten() {
                wish.offered_on.remove(&slot);
            }
        }
        self.settle();
    }

    pub(crate) fn set_admission(&mut self, id: &AgentId, admission: Admission) {
        if let Some(slot) = self.slot(id) {
            self.agent_mut(slot).admission = admission;
        }
    }

    pub(crate) fn add_framework(&mut self, id: FrameworkId, facts: FrameworkFacts) {
        let framework = self.frameworks.entry(id.clone()).or_default();
        framework.known = true;
        framework.active = true;
        framework.demand = None;
        framework.wishes.clear();
        framework.roles.clear();
        self.filters.retain(|filter| filter.client.0 != id);
        self.describe(&id, facts);
    }

    pub(crate) fn update_framework(&mut self, id: &FrameworkId, facts: FrameworkFacts) {
        if self.known(id).is_some() {
            self.describe(id, facts);
        }
    }

    pub(crate) fn set_framework_active(&mut self, id: &FrameworkId, active: bool) {
        if let Some(framework) = self.known(id) {
            framework.active = active;
            if !active {
                self.filters.retain(|filter| filter.client.0 != *id);
            }
        }
    }

    pub(crate) fn remove_framework(&mut self, id: &FrameworkId) {
        self.frameworks.remove(id);
        self.filters.retain(|filter| filter.client.0 != *id);
        for agent in self.agents.iter_mut().flatten() {
            agent.offered.retain(|client, _| client.0 != *id);
            agent.used.retain(|client, _| client.0 != *id);
        }
        self.settle();
    }

    pub(crate) fn suppress(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
        self.set_suppressed(id, roles, true);
    }

    pub(crate) fn revive(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
        self.set_suppressed(id, roles, false);
        self.filters.retain(|filter| {
            filter.client.0 != *id || roles.is_some_and(|roles| !roles.contains(&filter.client.1))
        });
    }

    pub(crate) fn set_demand(&mut self, id: &FrameworkId, shapes: Vec<Shape>) {
        if let Some(framework) = self.known(id) {
            framework.demand = Some(shapes);
            self.spread_demand(id);
        }
    }

    pub(crate) fn set_weight(&mut self, role: &Role, weight_milli: NonZeroU32) {
        self.weights.insert(role.clone(), weight_milli.get());
        self.weights.retain(|_, weight| *weight != 1_000);
        self.settle();
    }

    pub(crate) fn set_limit(&mut self, role: &Role, limit: Option<Amounts>) -> Result<(), Refused> {
        if role.parent().is_some() {
            return Err(Refused);
        }
        self.limits.remove(role);
        self.limits.extend(limit.map(|limit| (role.clone(), limit)));
        self.settle();
        Ok(())
    }

    pub(crate) fn set_guarantee(
        &mut self,
        role: &Role,
        guarantee: Option<Amounts>,
    ) -> Result<(), Refused> {
        if role.parent().is_some() {
            return Err(Refused);
        }
        self.guarantees.remove(role);
        let set = guarantee.map(|guarantee| (role.clone(), guarantee));
        self.guarantees.extend(set);
        self.settle();
        Ok(())
    }

    pub(crate) fn set_policy(&mut self, role: Option<&Role>, policy: Option<Policy>) {
        match role {
            None => self.policy = policy,
            Some(role) => {
                self.policies.remove(role);
                self.policies
                    .extend(policy.map(|policy| (role.clone(), policy)));
            }
        }
    }

    pub(crate) fn claim(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        if let Some(slot) = self.slot(agent)
            && !exclusive(resources).is_empty()
        {
            let resources = exclusive(resources);
            let resources = self.free(slot).pin(&resources).unwrap_or(resources);
            self.frameworks.entry(framework.clone()).or_default();
            let client = (framework.clone(), role.clone());
            let used = &mut self.agent_mut(slot).used;
            used.entry(client).or_default().add(&resources);
            self.settle();
        }
    }

    pub(crate) fn launched(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        if let Some(slot) = self.slot(agent) {
            let client = (framework.clone(), role.clone());
            let agent = self.agent_mut(slot);
            let part = take(&mut agent.offered, &client, resources);
            if !part.is_empty() {
                agent.used.entry(client).or_default().add(&part);
            }
        }
    }

    pub(crate) fn release(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        if let Some(slot) = self.slot(agent) {
            let client = (framework.clone(), role.clone());
            take(&mut self.agent_mut(slot).used, &client, resources);
            self.settle();
        }
    }

    pub(crate) fn give_back(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
        refuse_for: Duration,
    ) {
        let Some(slot) = self.slot(agent) else { return };
        let client = (framework.clone(), role.clone());
        let takes_offers = self
            .frameworks
            .get(framework)
            .is_some_and(|framework| framework.active && framework.roles.contains_key(role));
        if takes_offers && !refuse_for.is_zero() && !resources.is_empty() {
            self.set_filter(Filter {
                client: client.clone(),
                agent: slot,
                refused: as_amounts(resources),
                until: now + refuse_for.min(MAX_REFUSAL),
            });
        }
        take(&mut self.agent_mut(slot).offered, &client, resources);
        self.settle();
    }

    pub(crate) fn answered(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        units: &[(ShapeId, u32)],
        launched: u32,
    ) {
        let slot = self.slot(agent);
        if let Some(framework) = self.frameworks.get_mut(framework)
            && let Some(wishes) = framework.wishes.get_mut(role)
        {
            let demand = framework.demand.as_deref_mut().unwrap_or_default();
            demand::answer(wishes, demand, slot, units, launched);
        }
    }

    pub(crate) fn reshape(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        from: &Resources,
        to: &Resources,
    ) -> Result<(), Refused> {
        let client = (framework.clone(), role.clone());
        let slot = self.slot(agent).ok_or(Refused)?;
        let agent = self.agent_mut(slot);
        let held = agent.offered.get_mut(&client).ok_or(Refused)?;
        let rest = held.minus(&exclusive(from)).ok_or(Refused)?;
        if !agent.facts.total.contains(from) || from.flat() != to.flat() {
            return Err(Refused);
        }
        *held = rest.plus(&exclusive(to));
        agent.offered.retain(|_, held| !held.is_empty());
        agent.facts.total = without(&agent.facts.total, from).plus(to);
        self.settle();
        Ok(())
    }

    pub(crate) fn reshape_free(
        &mut self,
        agent: &AgentId,
        from: &Resources,
        to: &Resources,
    ) -> Result<(), Refused> {
        let slot = self.slot(agent).ok_or(Refused)?;
        let is_free = self.free(slot).contains(from);
        let total = &mut self.agent_mut(slot).facts.total;
        if !is_free || !total.contains(from) || from.flat() != to.flat() {
            return Err(Refused);
        }
        *total = without(total, from).plus(to);
        Ok(())
    }
}

/// Without shared volumes: they are always free, and come along with offers.
fn exclusive(resources: &Resources) -> Resources {
    resources.clone().only_parts(|tag| !tag.shared)
}

/// Whichever devices the GPUs are.
fn as_amounts(resources: &Resources) -> Resources {
    let nameless = |one: &Resources| {
        let mut amounts = one.plain().with_named_devices(Devices::none());
        amounts.gpus_milli = one.gpus_milli;
        amounts
    };
    let parts = resources.parts();
    parts.fold(nameless(resources), |sum, (tag, part)| {
        sum.with_part(tag.clone(), nameless(part))
    })
}

/// What is left when all of `from` is taken away, shared volumes too.
fn without(total: &Resources, from: &Resources) -> Resources {
    let mut left = total.minus_at_most(from);
    for (tag, _) in from.parts() {
        if tag.shared {
            left.take_part(tag);
        }
    }
    left
}

/// Takes as much of `part` as a client holds out of what it holds; that much.
fn take(held: &mut BTreeMap<Client, Resources>, client: &Client, part: &Resources) -> Resources {
    let Some(there) = held.get_mut(client) else {
        return Resources::none();
    };
    let left = there.minus_at_most(&exclusive(part));
    let taken = there.minus_at_most(&left);
    *there = left;
    held.retain(|_, held| !held.is_empty());
    taken
}

impl Naive {
    pub(crate) fn slot(&self, id: &AgentId) -> Option<usize> {
        let is_it = |agent: &Option<Agent>| agent.as_ref().is_some_and(|agent| agent.id == *id);
        self.agents.iter().position(is_it)
    }

    pub(crate) fn agent(&self, slot: usize) -> &Agent {
        self.agents[slot].as_ref().expect("there is one")
    }

    fn agent_mut(&mut self, slot: usize) -> &mut Agent {
        self.agents[slot].as_mut().expect("there is one")
    }

    /// All agents with their slots.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (usize, &Agent)> {
        let slots = self.agents.iter().enumerate();
        slots.filter_map(|(slot, agent)| Some((slot, agent.as_ref()?)))
    }

    fn known(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.frameworks
            .get_mut(id)
            .filter(|framework| framework.known)
    }

    /// Models of GPUs are numbered as they come.
    fn group_of(&mut self, slot: usize) -> u16 {
        let facts = &self.agent(slot).facts;
        if facts.total.gpus_milli == 0 {
            return 0;
        }
        let model = facts.attributes.get("gpu_model");
        let model = model.map_or_else(String::new, ToString::to_string);
        let next = u16::try_from(self.groups.len() + 1).expect("few models");
        *self.groups.entry(model).or_insert(next)
    }

    fn resize(&mut self, slot: usize, total: Resources) {
        let agent = self.agent(slot);
        if agent.facts.total == total {
            return;
        }
        let (before, group) = (agent.facts.total.clone(), agent.group);
        self.mix.remove_machine(&before, group);
        self.agent_mut(slot).facts.total = total.clone();
        let group = self.group_of(slot);
        self.agent_mut(slot).group = group;
        self.mix.add_machine(&total, group);
    }

    fn regroup(&mut self, slot: usize) {
        let (before, group) = (self.agent(slot).group, self.group_of(slot));
        let agent = self.agents[slot].as_mut().expect("there is one");
        agent.group = group;
        self.mix.remove_machine(&agent.facts.total, before);
        self.mix.add_machine(&agent.facts.total, group);
    }

    fn describe(&mut self, id: &FrameworkId, facts: FrameworkFacts) {
        self.any_is_enough |= !facts.min_allocatable.is_empty();
        let framework = self.frameworks.get_mut(id).expect("it is known");
        let before = std::mem::take(&mut framework.roles);
        for role in &facts.roles {
            let suppressed = before.get(role).copied().unwrap_or(false);
            framework.roles.insert(role.clone(), suppressed);
        }
        framework.facts = facts;
        let roles = framework.roles.clone();
        self.filters
            .retain(|filter| filter.client.0 != *id || roles.contains_key(&filter.client.1));
        self.spread_demand(id);
        self.settle();
    }

    fn set_suppressed(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>, value: bool) {
        if let Some(framework) = self.known(id) {
            for (role, suppressed) in &mut framework.roles {
                if roles.is_none_or(|roles| roles.contains(role)) {
                    *suppressed = value;
                }
            }
        }
    }

    fn set_filter(&mut self, new: Filter) {
        let is_same = |old: &Filter| old.client == new.client && old.agent == new.agent;
        let says_as_much = |old: &Filter| {
            is_same(old) && old.refused.contains(&new.refused) && old.until >= new.until
        };
        if self.filters.iter().any(says_as_much) {
            return;
        }
        self.filters.retain(|old| {
            !(is_same(old) && new.refused.contains(&old.refused) && old.until <= new.until)
        });
        if self.filters.iter().filter(|old| is_same(old)).count() >= MAX_FILTERS_PER_AGENT {
            let of_both = self.filters.iter().enumerate();
            let first = of_both
                .filter(|(_, old)| is_same(old))
                .min_by_key(|(_, old)| old.until)
                .map(|(at, _)| at);
            self.filters.remove(first.expect("there are eight"));
        }
        self.filters.push(new);
    }

    pub(crate) fn filters(&self) -> usize {
        self.filters.len()
    }
}
