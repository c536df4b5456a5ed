//! What an input brings with it: clients enter or leave the line, filters go, roles that were held back
//! look again, and what nobody needs any more is forgotten.

use std::borrow::Cow;
use std::collections::BTreeSet;

use mete_model::{FrameworkId, Resources, Role};

use super::agent::Way;
use super::{Allocator, FrameworkFacts, NotTopLevel};
use std::sync::Arc;

use crate::demand::{Shape, ShapeId};
use crate::packing::Policy;
use crate::quota::Quota;
use crate::slots::{AgentSlot, ClientSlot, FrameworkSlot, RoleSlot};
use crate::sums::Sums;

impl Allocator {
    pub(super) fn known(&self, id: &FrameworkId) -> Option<FrameworkSlot> {
        let slot = self.frameworks.find(id)?;
        self.frameworks.get(slot).known.then_some(slot)
    }

    pub(super) fn resize(&mut self, slot: AgentSlot, total: Resources) {
        if self.agents.get(slot).facts.total == total {
            return;
        }
        let group = self.agents.get(slot).group;
        let before = self.agents.resize(slot, total.clone());
        self.mix.remove_machine(&before, group);
        self.mix.add_machine(&total, self.agents.get(slot).group);
        self.tree.set_total(|sum| {
            sum.remove(&before);
            sum.add(&total);
        });
    }

    /// The client of a framework in a role, made with its rules when there is none.
    pub(super) fn ensure_client(&mut self, slot: FrameworkSlot, role: &Role) -> ClientSlot {
        let client = self
            .frameworks
            .ensure_role(slot, role, &mut self.tree)
            .client;
        let policy = self.policy_of(role);
        let facts = Arc::clone(&self.frameworks.get(slot).facts);
        let rules = self.rules.get_mut(client);
        rules.describe(role, &facts);
        rules.policy = policy;
        client
    }

    /// What a framework says of itself from now on.
    pub(super) fn describe(&mut self, slot: FrameworkSlot, facts: FrameworkFacts) {
        if !facts.min_allocatable.is_empty() {
            self.agents.let_any_be_enough();
        }
        let may_take_more = facts.takes_more_than(&self.frameworks.get(slot).facts);
        let facts = Arc::new(facts);
        self.frameworks.get_mut(slot).facts = Arc::clone(&facts);
        let mut left = Vec::new();
        for (role, held) in &mut self.frameworks.get_mut(slot).roles {
            held.subscribed = facts.roles.contains(role);
            if !held.subscribed {
                held.suppressed = false;
                left.push(held.client);
            }
        }
        for client in left {
            self.filters.clear_client(client);
        }
        for role in &facts.roles {
            let client = self.ensure_client(slot, role);
            let held = self.frameworks.ensure_role(slot, role, &mut self.tree);
            held.subscribed = true;
            if may_take_more {
                self.look_again(client);
            }
        }
        self.spread_demand(slot);
        self.settle(slot);
    }

    /// Gives each client of a framework the shapes that are for its role.
    pub(super) fn spread_demand(&mut self, slot: FrameworkSlot) {
        let framework = self.frameworks.get(slot);
        let clients: Vec<(Role, ClientSlot)> = framework
            .roles
            .iter()
            .map(|(role, held)| (role.clone(), held.client))
            .collect();
        for (_, client) in &clients {
            // What it may have of what is left is another question now.
            self.tree.let_in(*client);
        }
        let Some(demand) = framework.demand.clone() else {
            for (_, client) in clients {
                if self.rules.get_mut(client).wishes.take().is_some() {
                    self.look_again(client);
                }
            }
            return;
        };
        let first = framework.first_role().cloned();
        for (role, client) in clients {
            let shapes: Vec<&Shape> = demand
                .iter()
                .filter(|shape| shape.role.as_ref().or(first.as_ref()) == Some(&role))
                .collect();
            let named = &mut self.shapes_named;
            let new_id = || {
                *named += 1;
                ShapeId(*named)
            };
            let (mix, agents) = (&mut self.mix, &self.agents);
            let more =
                |shape: &Shape, times| mix.note(&shape.resources, agents.groups_for(shape), times);
            let wishes = self.rules.get_mut(client).wishes.get_or_insert_default();
            wishes.replace(&shapes, new_id, more);
            self.look_again(client);
        }
    }

    /// A client that is in line looks at all agents in the next round.
    pub(super) fn look_again(&mut self, client: ClientSlot) {
        if self.tree.is_in_line(client) {
            self.make_eager(client);
        }
    }

    fn make_eager(&mut self, client: ClientSlot) {
        let rules = self.rules.get_mut(client);
        if !std::mem::replace(&mut rules.is_eager, true) {
            self.eager.push(client);
        }
    }

    pub(super) fn policy_of(&self, role: &Role) -> Policy {
        let set = std::iter::successors(Some(role.clone()), Role::parent)
            .find_map(|role| self.policies.get(&role));
        set.copied().unwrap_or(self.policy)
    }

    pub(super) fn set_suppressed(
        &mut self,
        id: &FrameworkId,
        roles: Option<&BTreeSet<Role>>,
        value: bool,
    ) {
        let Some(slot) = self.known(id) else {
            return;
        };
        for (role, held) in &mut self.frameworks.get_mut(slot).roles {
            if held.subscribed && roles.is_none_or(|roles| roles.contains(role)) {
                held.suppressed = value;
            }
        }
        self.settle(slot);
    }

    /// Puts a framework's clients in line or takes them out, and forgets those that are over.
    pub(super) fn settle(&mut self, slot: FrameworkSlot) {
        self.line_up(slot);
        self.prune(slot);
    }

    /// Puts a framework's clients in line or takes them out.
    fn line_up(&mut self, slot: FrameworkSlot) {
        let framework = self.frameworks.get(slot);
        let mut joined = Vec::new();
        for held in framework.roles.values() {
            let wants = self.rules.get(held.client).wants_something();
            if framework.active && held.subscribed && !held.suppressed && wants {
                if self.tree.join(held.client) {
                    joined.push(held.client);
                }
            } else {
                self.tree.leave(held.client);
            }
        }
        for client in joined {
            self.make_eager(client);
        }
    }

    pub(super) fn prune(&mut self, slot: FrameworkSlot) {
        let (agents, rules) = (&self.agents, &mut self.rules);
        self.frameworks.prune(
            slot,
            &mut self.tree,
            |client| agents.holdings(client),
            |client| rules.forget(client),
        );
    }

    pub(super) fn clear_filters_of(&mut self, slot: FrameworkSlot, roles: Option<&BTreeSet<Role>>) {
        let clients: Vec<ClientSlot> = self
            .frameworks
            .get(slot)
            .roles
            .iter()
            .filter(|(role, _)| roles.is_none_or(|roles| roles.contains(*role)))
            .map(|(_, held)| held.client)
            .collect();
        for client in clients {
            if self.filters.clear_client(client) {
                self.look_again(client);
            }
        }
    }

    pub(super) fn put_back(
        &mut self,
        agent: AgentSlot,
        client: ClientSlot,
        way: Way,
        resources: &Resources,
    ) {
        if way == Way::Offered && self.agents.end_whole_loan(agent, client, resources) {
            self.holds_less(client, resources);
        } else if let Some(part) = self.agents.let_go(agent, client, way, resources) {
            self.holds_less(client, &part);
            self.agents.put_free(agent, part);
        }
    }

    pub(super) fn release_all(&mut self, client: ClientSlot) {
        if self.agents.holdings(client) == 0 {
            return;
        }
        let slots: Vec<AgentSlot> = self.agents.slots().collect();
        for agent in slots {
            for way in [Way::Offered, Way::Used] {
                if let Some(held) = self.agents.held_by(agent, client, way) {
                    let held = held.clone();
                    self.put_back(agent, client, way, &held);
                }
            }
        }
    }

    /// A client holds less on some agent; it may have been the last it had, and its role may have room
    /// again.
    pub(super) fn holds_less(&mut self, client: ClientSlot, part: &Resources) {
        self.tree.release(client, part);
        if self.quota.is_any_set() {
            self.note_quota(client);
            self.wake(Some(self.tree.top_of(client)));
        }
        if self.agents.holdings(client) == 0 {
            let framework = self.tree.client(client).framework;
            self.prune(framework);
        }
    }

    pub(super) fn note_quota(&mut self, client: ClientSlot) {
        if !self.quota.is_any_set() {
            return;
        }
        let top = self.tree.top_of(client);
        let charged = self.charged(top).into_owned();
        self.quota.note_held(top, &charged);
    }

    /// What counts against the quota of a top-level role: what its frameworks hold of what is nobody's, and all that is
    /// reserved for it, held or not (as in Mesos).
    pub(super) fn charged(&self, top: RoleSlot) -> Cow<'_, Sums> {
        let node = self.tree.node(top);
        let reserved = self.reserved.get(&node.role);
        let special = self.tree.special_of(top);
        if reserved.is_none() && special.is_none() {
            return Cow::Borrowed(&node.held);
        }
        let mut charged = node.held.clone();
        if let Some(special) = special {
            charged.subtract(special);
        }
        if let Some(reserved) = reserved {
            charged.merge(reserved);
        }
        Cow::Owned(charged)
    }

    /// Counts what of an agent's total is reserved, or does not any more.
    pub(super) fn count_reserved(&mut self, total: &Resources, comes: bool) {
        for (tag, part) in total.parts() {
            let Some(role) = tag.role() else {
                continue;
            };
            let sums = self.reserved.entry(role.top_level()).or_default();
            if comes {
                sums.add(part);
            } else {
                sums.remove(part);
            }
            if *sums == Sums::default() {
                self.reserved.remove(&role.top_level());
            }
        }
        if total.has_parts() {
            self.quota_of_all_changed();
        }
    }

    /// An agent's total is not what it was before.
    pub(super) fn total_changed(&mut self, slot: AgentSlot, before: &Resources) {
        let now = self.agents.get(slot).facts.total.clone();
        self.tree.set_total(|sum| {
            sum.remove(before);
            sum.add(&now);
        });
        self.count_reserved(&now, true);
        self.count_reserved(before, false);
    }

    fn quota_of_all_changed(&mut self) {
        if !self.quota.is_any_set() {
            return;
        }
        let tops: Vec<RoleSlot> = self.quota.roles().collect();
        for top in tops {
            let charged = self.charged(top).into_owned();
            self.quota.note_held(top, &charged);
        }
        self.wake(None);
    }

    pub(super) fn change_quota(
        &mut self,
        role: &Role,
        change: impl FnOnce(&mut Quota, RoleSlot, &Sums),
    ) -> Result<(), NotTopLevel> {
        if role.parent().is_some() {
            return Err(NotTopLevel { role: role.clone() });
        }
        let slot = self.tree.set_has_quota(role, true);
        let charged = self.charged(slot).into_owned();
        change(&mut self.quota, slot, &charged);
        let is_set = self.quota.is_set(slot);
        self.wake(None);
        self.tree.set_has_quota(role, is_set);
        Ok(())
    }

    /// Clients that a limit or the headroom kept from something look again: those of one top-level
    /// role, or all.
    pub(super) fn wake(&mut self, role: Option<RoleSlot>) {
        let roles = self.quota.take_held_back(role);
        let mut woken = Vec::new();
        for role in roles {
            self.tree
                .for_each_in_line(role, &mut |client| woken.push(client));
        }
        for client in woken {
            self.make_eager(client);
        }
        self.let_in(role);
    }

    /// Clients of roles that had no room for anything join the line again, those below one top-level role or all.
    fn let_in(&mut self, role: Option<RoleSlot>) {
        if !self.tree.is_any_shut_out() {
            return;
        }
        let tops = role.map_or_else(|| self.tree.tops_shut_out(), |role| vec![role]);
        for top in tops {
            for client in self.tree.let_all_in(top) {
                self.line_up(self.tree.client(client).framework);
            }
        }
    }
}
