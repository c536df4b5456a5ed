//! What an input brings with it: clients enter or leave the line, filters go, roles that were held back
//! look again, and what nobody needs any more is forgotten.

use std::collections::BTreeSet;

use mete_model::{FrameworkId, Resources, Role};

use super::{Allocator, NotTopLevel};
use crate::fairness::RoleTree;
use crate::quota::Quota;
use crate::slots::{AgentSlot, ClientSlot, FrameworkSlot, RoleSlot};

impl Allocator {
    pub(super) fn known(&self, id: &FrameworkId) -> Option<FrameworkSlot> {
        let slot = self.frameworks.find(id)?;
        self.frameworks.get(slot).known.then_some(slot)
    }

    pub(super) fn resize(&mut self, slot: AgentSlot, total: Resources) {
        let before = self.agents.resize(slot, total.clone());
        if before != total {
            self.tree.set_total(|sum| {
                sum.remove(&before);
                sum.add(&total);
            });
            self.headroom_changed();
        }
    }

    pub(super) fn set_offerable(&mut self, slot: AgentSlot, offerable: bool) {
        self.agents.set_offerable(slot, offerable);
        self.headroom_changed();
    }

    pub(super) fn set_roles(&mut self, slot: FrameworkSlot, roles: &BTreeSet<Role>) {
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

    pub(super) fn clear_filters_of(&mut self, slot: FrameworkSlot, roles: Option<&BTreeSet<Role>>) {
        for (role, held) in &self.frameworks.get(slot).roles {
            if roles.is_none_or(|roles| roles.contains(role))
                && self.filters.clear_client(held.client)
                && self.tree.is_in_line(held.client)
            {
                self.eager.insert(held.client);
            }
        }
    }

    pub(super) fn clear_filters_on(&mut self, agent: AgentSlot) {
        for (client, _) in self.tree.clients() {
            self.filters.clear(client, agent);
        }
    }

    pub(super) fn put_back(&mut self, agent: AgentSlot, client: ClientSlot, resources: &Resources) {
        if let Some(part) = self.agents.put_back(agent, client, resources) {
            self.holds_less(client, &part);
        }
    }

    pub(super) fn release_all(&mut self, client: ClientSlot) {
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
    pub(super) fn holds_less(&mut self, client: ClientSlot, part: &Resources) {
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

    pub(super) fn note_quota(&mut self, client: ClientSlot) {
        let top = self.tree.top_of(client);
        self.quota.note_held(top, &self.tree.node(top).held);
    }

    pub(super) fn change_quota(
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

    /// More is free, or less is to be kept free: with guarantees around, that may be for anybody.
    pub(super) fn headroom_changed(&mut self) {
        if self.quota.keeps_headroom() {
            self.wake(None);
        }
    }

    /// Clients that a limit or the headroom kept from something look again: those of one top-level
    /// role, or all.
    pub(super) fn wake(&mut self, role: Option<RoleSlot>) {
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
