//! Frameworks as the allocator sees them: which roles they hold, and in which they want offers.
//!
//! ```text
//! (claimed for) ──▶ unknown ──add──▶ active ◀──▶ inactive ──remove──▶ gone
//! ```
//! A framework that is not known yet may hold resources: its tasks came back before it did.

use std::collections::BTreeMap;

use mete_model::{FrameworkId, Role};

use crate::fairness::RoleTree;
use crate::slots::{ClientSlot, FrameworkSlot, Slots};

/// One framework.
#[derive(Clone, Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    /// Was added, not only claimed for.
    pub(super) known: bool,
    pub(super) active: bool,
    pub(super) roles: BTreeMap<Role, Held>,
}

/// A role of a framework, held now or once.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) client: ClientSlot,
    /// It is one of the framework's roles now.
    pub(super) subscribed: bool,
    pub(super) suppressed: bool,
}

/// All frameworks.
#[derive(Clone, Debug, Default)]
pub(super) struct Frameworks {
    slots: Slots<FrameworkSlot, Framework>,
    by_id: BTreeMap<FrameworkId, FrameworkSlot>,
}

impl Frameworks {
    pub(super) fn find(&self, id: &FrameworkId) -> Option<FrameworkSlot> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, slot: FrameworkSlot) -> &Framework {
        &self.slots[slot]
    }

    pub(super) fn get_mut(&mut self, slot: FrameworkSlot) -> &mut Framework {
        &mut self.slots[slot]
    }

    /// The framework; one that was never heard of is made, unknown and inactive.
    pub(super) fn ensure(&mut self, id: &FrameworkId) -> FrameworkSlot {
        if let Some(slot) = self.find(id) {
            return slot;
        }
        let slot = self.slots.insert(Framework {
            id: id.clone(),
            known: false,
            active: false,
            roles: BTreeMap::new(),
        });
        self.by_id.insert(id.clone(), slot);
        slot
    }

    /// The framework's client in a role; made when there is none, holding nothing.
    pub(super) fn ensure_role(
        &mut self,
        slot: FrameworkSlot,
        role: &Role,
        tree: &mut RoleTree,
    ) -> &mut Held {
        let roles = &mut self.slots[slot].roles;
        roles.entry(role.clone()).or_insert_with(|| Held {
            client: tree.add_client(slot, role),
            subscribed: false,
            suppressed: false,
        })
    }

    /// Whether a framework is active and holds a role: only then does it have filters there.
    pub(super) fn may_be_served(&self, id: &FrameworkId, role: &Role) -> bool {
        self.find(id).is_some_and(|slot| {
            let framework = &self.slots[slot];
            let held = framework.roles.get(role);
            framework.active && held.is_some_and(|held| held.subscribed)
        })
    }

    /// The client of a framework in a role.
    pub(super) fn client(&self, id: &FrameworkId, role: &Role) -> Option<ClientSlot> {
        let slot = self.find(id)?;
        self.slots[slot].roles.get(role).map(|held| held.client)
    }

    /// Forgets the roles that a framework neither has nor holds anything in, and the framework itself
    /// when it is unknown and has none left. `holdings` says on how many agents a client holds something.
    pub(super) fn prune(
        &mut self,
        slot: FrameworkSlot,
        tree: &mut RoleTree,
        holdings: impl Fn(ClientSlot) -> u32,
    ) {
        let framework = &mut self.slots[slot];
        framework.roles.retain(|_, held| {
            let stays = held.subscribed || holdings(held.client) > 0;
            if !stays {
                tree.remove_client(held.client);
            }
            stays
        });
        if !framework.known && framework.roles.is_empty() {
            self.by_id.remove(&framework.id);
            self.slots.remove(slot);
        }
    }
}
