//! Frameworks as the allocator sees them: which roles they hold, in which they want offers, and what
//! they can do with them.
//!
//! ```text
//! (claimed for) ──▶ unknown ──add──▶ active ◀──▶ inactive ──remove──▶ gone
//! ```
//! A framework that is not known yet may hold resources: its tasks came back before it did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{Capability, FrameworkId, Role};

use crate::demand::Shape;
use crate::fairness::RoleTree;
use crate::offer_constraints::OfferConstraints;
use crate::quota::Amounts;
use crate::slots::{ClientSlot, FrameworkSlot, Names, Slots};

/// What a framework says of itself, as far as offers go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameworkFacts {
    /// In which it takes offers.
    pub roles: BTreeSet<Role>,
    /// What it can do with them.
    pub capabilities: BTreeSet<Capability>,
    /// By role: an offer holds at least one of these; roles that are not named have the cluster's minimum.
    pub min_allocatable: BTreeMap<Role, Vec<Amounts>>,
    /// By role: which agents it takes offers of.
    pub offer_constraints: BTreeMap<Role, OfferConstraints>,
}

impl FrameworkFacts {
    /// A framework that only has roles.
    pub fn in_roles(roles: impl IntoIterator<Item = Role>) -> Self {
        Self {
            roles: roles.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl FrameworkFacts {
    /// Whether it may take what it took no notice of before, roles aside.
    pub(super) fn takes_more_than(&self, before: &Self) -> bool {
        self.capabilities != before.capabilities
            || self.min_allocatable != before.min_allocatable
            || self.offer_constraints != before.offer_constraints
    }
}

/// One framework.
#[derive(Clone, Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    /// Was added, not only claimed for.
    pub(super) known: bool,
    pub(super) active: bool,
    pub(super) facts: Arc<FrameworkFacts>,
    /// What it is waiting to run; `None`: it says nothing, and gets whole agents.
    pub(super) demand: Option<Arc<[Shape]>>,
    pub(super) roles: BTreeMap<Role, Held>,
}

impl Framework {
    /// What it is in a role. Mostly it has one, and is asked for it by a clone of its name.
    fn held(&self, role: &Role) -> Option<&Held> {
        match self.roles.first_key_value() {
            Some((first, held)) if first.is_same(role) => Some(held),
            _ => self.roles.get(role),
        }
    }

    /// The role that a shape which names none is for.
    pub(super) fn first_role(&self) -> Option<&Role> {
        self.facts.roles.first()
    }
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
    by_id: Names<FrameworkId, FrameworkSlot>,
}

impl Frameworks {
    pub(super) fn find(&self, id: &FrameworkId) -> Option<FrameworkSlot> {
        self.by_id.get(id)
    }

    pub(super) fn get(&self, slot: FrameworkSlot) -> &Framework {
        &self.slots[slot]
    }

    pub(super) fn get_mut(&mut self, slot: FrameworkSlot) -> &mut Framework {
        &mut self.slots[slot]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Framework> {
        self.slots.iter().map(|(_, framework)| framework)
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
            facts: Arc::default(),
            demand: None,
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
        if !roles.contains_key(role) {
            let client = tree.add_client(slot, role);
            let held = Held {
                client,
                subscribed: false,
                suppressed: false,
            };
            // The text that offers are made with, so that their answers are known by it.
            let role = tree.node(tree.client(client).role).role.clone();
            roles.insert(role, held);
        }
        roles.get_mut(role).expect("it is there now")
    }

    /// The client of a framework in a role, and whether it is active and holds the role: only then does it have filters.
    pub(super) fn served_client(
        &self,
        id: &FrameworkId,
        role: &Role,
    ) -> Option<(ClientSlot, bool)> {
        let framework = &self.slots[self.find(id)?];
        let held = framework.held(role)?;
        Some((held.client, framework.active && held.subscribed))
    }

    /// The client of a framework in a role.
    pub(super) fn client(&self, id: &FrameworkId, role: &Role) -> Option<ClientSlot> {
        let slot = self.find(id)?;
        self.slots[slot].held(role).map(|held| held.client)
    }

    /// Forgets the roles that a framework neither has nor holds anything in, and the framework itself
    /// when it is unknown and has none left. `holdings` says on how many agents a client holds something,
    /// `gone` hears of each client that is forgotten.
    pub(super) fn prune(
        &mut self,
        slot: FrameworkSlot,
        tree: &mut RoleTree,
        holdings: impl Fn(ClientSlot) -> u32,
        mut gone: impl FnMut(ClientSlot),
    ) {
        let framework = &mut self.slots[slot];
        framework.roles.retain(|_, held| {
            let stays = held.subscribed || holdings(held.client) > 0;
            if !stays {
                tree.remove_client(held.client);
                gone(held.client);
            }
            stays
        });
        if !framework.known && framework.roles.is_empty() {
            self.by_id.remove(&framework.id);
            self.slots.remove(slot);
        }
    }
}
