//! Who is next: weighted dominant resource fairness over the tree of roles, then over the frameworks
//! inside a role.
//!
//! A **client** is a framework in one of its roles. Clients that may be served stand *in line*; each
//! role keeps its clients and its child roles in priority queues, the one with the smallest share of
//! the cluster (divided by its weight) first. A role that has both children and frameworks of its own
//! enters these as one more child, of weight 1. Equal shares are served in turn: whoever was served
//! or came longer ago is first, so that the order is total and nobody waits for ever.
//!
//! Invariants: the shares a queue is sorted by are those of `held`, except while `stale`; a role is
//! in its parent's queue exactly when somebody below it is in line.

mod node; // a role and what hangs below it
mod queue; // a line, the most urgent first

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use mete_model::{Resources, Role};

use crate::slots::{ClientSlot, FrameworkSlot, RoleSlot, Slots};
use crate::sums::Sums;
pub(crate) use node::Node;
use queue::{Queue, Urgency};

/// The weight of a role that none was set for: 1, in thousandths.
pub const DEFAULT_WEIGHT_MILLI: NonZeroU32 =
    NonZeroU32::new(1_000).expect("a thousand is not zero");

/// A framework in one role.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) framework: FrameworkSlot,
    pub(crate) role: RoleSlot,
    pub(crate) held: Sums,
    turn: u64,
    in_line: bool,
}

/// All roles and clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleTree {
    nodes: Slots<RoleSlot, Node>,
    clients: Slots<ClientSlot, Client>,
    by_role: BTreeMap<Role, RoleSlot>,
    top: Queue<RoleSlot>,
    aside: Vec<ClientSlot>,
    /// What all clients hold.
    held: Sums,
    /// What shares are measured against.
    total: Sums,
    /// The total has changed since shares were computed.
    stale: bool,
    turns: u64,
}

impl RoleTree {
    /// A client that holds nothing and is not in line.
    pub(crate) fn add_client(&mut self, framework: FrameworkSlot, role: &Role) -> ClientSlot {
        let role = self.ensure(role);
        self.nodes[role].dependants += 1;
        let turn = self.next_turn();
        self.clients.insert(Client {
            framework,
            role,
            held: Sums::default(),
            turn,
            in_line: false,
        })
    }

    /// Forgets a client that holds nothing, and its role when nothing is left there.
    pub(crate) fn remove_client(&mut self, slot: ClientSlot) {
        self.leave(slot);
        if let Some(client) = self.clients.remove(slot) {
            debug_assert!(client.held == Sums::default(), "released before it goes");
            self.nodes[client.role].dependants -= 1;
            self.prune(client.role);
        }
    }

    /// Puts a client in line; whether it was not before.
    pub(crate) fn join(&mut self, slot: ClientSlot) -> bool {
        let client = &mut self.clients[slot];
        if std::mem::replace(&mut client.in_line, true) {
            return false;
        }
        let urgency = Urgency::new(&client.held, &self.total, DEFAULT_WEIGHT_MILLI, client.turn);
        let mut role = client.role;
        let was_idle = self.nodes[role].is_idle();
        self.nodes[role].clients.push(slot, urgency);
        if !was_idle {
            return true;
        }
        loop {
            let urgency = self.nodes[role].urgency(&self.total);
            let Some(parent) = self.nodes[role].parent else {
                self.top.push(role, urgency);
                return true;
            };
            let was_idle = self.nodes[parent].is_idle();
            self.nodes[parent].children.push(role, urgency);
            if !was_idle {
                return true;
            }
            role = parent;
        }
    }

    /// Takes a client out of the line; whether it was in it.
    pub(crate) fn leave(&mut self, slot: ClientSlot) -> bool {
        let client = &mut self.clients[slot];
        if !std::mem::replace(&mut client.in_line, false) {
            return false;
        }
        let mut role = client.role;
        self.nodes[role].clients.remove(slot);
        while self.nodes[role].is_idle() {
            let Some(parent) = self.nodes[role].parent else {
                self.top.remove(role);
                break;
            };
            self.nodes[parent].children.remove(role);
            role = parent;
        }
        true
    }

    /// The client to be served next; `None` when nobody is in line.
    pub(crate) fn next(&self) -> Option<ClientSlot> {
        let (mut role, _) = self.top.first()?;
        loop {
            let node = &self.nodes[role];
            match (node.clients.first(), node.children.first()) {
                (None, None) => return None,
                (Some((client, _)), None) => return Some(client),
                (None, Some((child, _))) => role = child,
                (Some((client, _)), Some((child, urgency))) => {
                    if node.own_urgency(&self.total) <= urgency {
                        return Some(client);
                    }
                    role = child;
                }
            }
        }
    }

    /// Takes a client out of the line until [`Self::step_back`].
    pub(crate) fn step_aside(&mut self, slot: ClientSlot) {
        if self.leave(slot) {
            self.aside.push(slot);
        }
    }

    /// Puts all who stepped aside back in line, each at its share.
    pub(crate) fn step_back(&mut self) {
        let mut aside = std::mem::take(&mut self.aside);
        for slot in aside.drain(..) {
            self.join(slot);
        }
        self.aside = aside;
    }

    /// A client was given resources by a round: its turn is over.
    pub(crate) fn grant(&mut self, slot: ClientSlot, resources: &Resources) {
        let turn = self.next_turn();
        self.charge(slot, Some(turn), |held| held.add(resources));
    }

    /// A client holds more, without having been served.
    pub(crate) fn claim(&mut self, slot: ClientSlot, resources: &Resources) {
        self.charge(slot, None, |held| held.add(resources));
    }

    /// A client holds less.
    pub(crate) fn release(&mut self, slot: ClientSlot, resources: &Resources) {
        self.charge(slot, None, |held| held.remove(resources));
    }

    /// Shares are measured against `total` from the next [`Self::refresh`] on.
    pub(crate) fn set_total(&mut self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.total);
        self.stale = true;
    }

    /// Computes all shares anew when the total has changed.
    pub(crate) fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let (clients, total) = (&self.clients, &self.total);
        let slots: Vec<RoleSlot> = self.by_role.values().copied().collect();
        for &slot in &slots {
            self.nodes[slot].clients.reorder(|client| {
                let client = &clients[client];
                Urgency::new(&client.held, total, DEFAULT_WEIGHT_MILLI, client.turn)
            });
        }
        for slot in slots {
            let urgency = self.nodes[slot].urgency(total);
            match self.nodes[slot].parent {
                Some(parent) => self.nodes[parent].children.change(slot, urgency),
                None => self.top.change(slot, urgency),
            }
        }
    }

    pub(crate) fn set_weight(&mut self, role: &Role, weight_milli: NonZeroU32) {
        let slot = self.ensure(role);
        self.nodes[slot].weight_milli = weight_milli;
        self.reposition(slot);
        self.prune(slot);
    }

    /// Notes whether a role has quota, which keeps it known without frameworks.
    pub(crate) fn set_has_quota(&mut self, role: &Role, has_quota: bool) -> RoleSlot {
        let slot = self.ensure(role);
        self.nodes[slot].has_quota = has_quota;
        self.prune(slot);
        slot
    }

    pub(crate) fn client(&self, slot: ClientSlot) -> &Client {
        &self.clients[slot]
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = (ClientSlot, &Client)> {
        self.clients.iter()
    }

    /// One more than the highest number of a client.
    pub(crate) fn clients_end(&self) -> usize {
        self.clients.end()
    }

    pub(crate) fn is_in_line(&self, slot: ClientSlot) -> bool {
        self.clients.get(slot).is_some_and(|client| client.in_line)
    }

    /// Whether anybody is in line.
    pub(crate) fn is_anybody_in_line(&self) -> bool {
        !self.top.is_empty()
    }

    pub(crate) fn node(&self, slot: RoleSlot) -> &Node {
        &self.nodes[slot]
    }

    /// All roles, in order of name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (RoleSlot, &Node)> {
        self.by_role.values().map(|&slot| (slot, &self.nodes[slot]))
    }

    /// One more than the highest number of a role.
    pub(crate) fn nodes_end(&self) -> usize {
        self.nodes.end()
    }

    /// The top-level role a client's role stands below.
    pub(crate) fn top_of(&self, slot: ClientSlot) -> RoleSlot {
        self.nodes[self.clients[slot].role].top
    }

    pub(crate) const fn held(&self) -> &Sums {
        &self.held
    }

    pub(crate) const fn total(&self) -> &Sums {
        &self.total
    }

    const fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Changes what a client and all above it hold, and moves them to their new places.
    fn charge(&mut self, slot: ClientSlot, turn: Option<u64>, change: impl Fn(&mut Sums)) {
        let client = &mut self.clients[slot];
        change(&mut client.held);
        client.turn = turn.unwrap_or(client.turn);
        let role = client.role;
        if client.in_line {
            let urgency =
                Urgency::new(&client.held, &self.total, DEFAULT_WEIGHT_MILLI, client.turn);
            self.nodes[role].clients.change(slot, urgency);
        }
        change(&mut self.held);
        let node = &mut self.nodes[role];
        change(&mut node.own_held);
        node.own_turn = turn.unwrap_or(node.own_turn);
        let mut above = Some(role);
        while let Some(role) = above {
            let node = &mut self.nodes[role];
            change(&mut node.held);
            node.turn = turn.unwrap_or(node.turn);
            above = node.parent;
            self.reposition(role);
        }
    }

    fn reposition(&mut self, slot: RoleSlot) {
        let node = &self.nodes[slot];
        if node.is_idle() {
            return;
        }
        let urgency = node.urgency(&self.total);
        match node.parent {
            Some(parent) => self.nodes[parent].children.change(slot, urgency),
            None => self.top.change(slot, urgency),
        }
    }

    /// The role's slot; it and all above it are made when they are not there.
    fn ensure(&mut self, role: &Role) -> RoleSlot {
        if let Some(&slot) = self.by_role.get(role) {
            return slot;
        }
        let mut missing = vec![role.clone()];
        let mut parent = None;
        let mut above = role.parent();
        while let Some(role) = above {
            if let Some(&slot) = self.by_role.get(&role) {
                parent = Some(slot);
                break;
            }
            above = role.parent();
            missing.push(role);
        }
        let mut slot = parent;
        for role in missing.into_iter().rev() {
            slot = Some(self.add_node(role, slot));
        }
        slot.expect("at least the role itself was missing")
    }

    fn add_node(&mut self, role: Role, parent: Option<RoleSlot>) -> RoleSlot {
        let turn = self.next_turn();
        let slot = self.nodes.insert(Node::new(role.clone(), parent, turn));
        self.nodes[slot].top = match parent {
            Some(parent) => {
                self.nodes[parent].dependants += 1;
                self.nodes[parent].top
            }
            None => slot,
        };
        self.by_role.insert(role, slot);
        slot
    }

    /// Forgets a role, and those above it, as far as nothing depends on them and nothing is set.
    fn prune(&mut self, slot: RoleSlot) {
        let mut next = Some(slot);
        while let Some(slot) = next {
            let node = &self.nodes[slot];
            if node.dependants > 0 || node.has_quota || node.weight_milli != DEFAULT_WEIGHT_MILLI {
                return;
            }
            next = node.parent;
            self.by_role.remove(&node.role);
            self.nodes.remove(slot);
            if let Some(parent) = next {
                self.nodes[parent].dependants -= 1;
            }
        }
    }
}
