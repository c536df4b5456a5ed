//! Who is next: weighted dominant resource fairness over the tree of roles, then over the frameworks
//! inside a role.
//!
//! A **client** is a framework in one of its roles. Clients that may be served stand *in line*; each
//! role keeps its clients and its child roles in priority queues, the one with the smallest share of
//! the cluster (divided by its weight) first. A role that has both children and frameworks of its own
//! enters these as one more child, of weight 1. Equal shares are served in turn: whoever was served
//! or came longer ago is first, so that the order is total and nobody waits for ever.
//!
//! What is handed in (claims, releases) only changes sums and is noted; the queues are put right once,
//! before the next question (`RoleTree::refresh`), however often a client was touched meanwhile.
//! Grants move their client at once, because the next question depends on it.
//!
//! Invariants: the shares a queue is sorted by are those of `held`, except for what is noted in `moved`,
//! for a client that is alone in its queue, and while `stale`; a role is in its parent's queue exactly
//! when somebody below it is in line.

mod node; // a role and what hangs below it
mod queue; // a line, the most urgent first
mod rivals; // who comes first, for explanations

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use mete_model::{Resources, Role};

use crate::slots::{ClientSlot, FrameworkSlot, RoleSlot, Slots};
use crate::sums::{Sums, Whole};
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
    /// Its role has no room for anything: it does not stand in line until that may have changed.
    is_shut_out: bool,
    /// Its place in the queue is not that of its share; it stands in `moved`.
    is_moved: bool,
}

/// All roles and clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleTree {
    nodes: Slots<RoleSlot, Node>,
    clients: Slots<ClientSlot, Client>,
    by_role: BTreeMap<Role, RoleSlot>,
    top: Queue<RoleSlot>,
    aside: Vec<ClientSlot>,
    /// How many clients are shut out; they stand with their top-level roles.
    shut_out: usize,
    /// Clients whose places, and those of the roles above them, are to be put right.
    moved: Vec<ClientSlot>,
    in_line: usize,
    /// Of what the frameworks of a top-level role hold, what is reserved or special in another way.
    special: BTreeMap<RoleSlot, Sums>,
    /// What shares are measured against.
    total: Sums,
    /// `total` as numbers to divide by.
    whole: Whole,
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
            is_shut_out: false,
            is_moved: false,
        })
    }

    /// Forgets a client that holds nothing, and its role when nothing is left there.
    pub(crate) fn remove_client(&mut self, slot: ClientSlot) {
        self.leave(slot);
        self.let_in(slot);
        if let Some(client) = self.clients.remove(slot) {
            debug_assert!(client.held == Sums::default(), "released before it goes");
            if client.is_moved {
                // Nobody will find it among those that moved.
                self.reposition_up(client.role);
            }
            self.nodes[client.role].dependants -= 1;
            self.prune(client.role);
        }
    }

    /// Puts a client in line unless it is shut out; whether it was not before.
    pub(crate) fn join(&mut self, slot: ClientSlot) -> bool {
        let client = &mut self.clients[slot];
        if client.is_shut_out || std::mem::replace(&mut client.in_line, true) {
            return false;
        }
        self.in_line += 1;
        let urgency = Urgency::new(&client.held, &self.whole, DEFAULT_WEIGHT_MILLI, client.turn);
        let mut role = client.role;
        let was_idle = self.nodes[role].is_idle();
        if let Some(alone) = self.nodes[role].clients.alone() {
            self.place_client(alone);
        }
        self.nodes[role].clients.push(slot, urgency);
        if !was_idle {
            return true;
        }
        loop {
            let urgency = self.nodes[role].urgency(&self.whole);
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
        self.in_line -= 1;
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
                    if node.own_urgency(&self.whole) <= urgency {
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

    /// Takes a client out of the line until it is [let in](Self::let_in) again.
    pub(crate) fn shut_out(&mut self, slot: ClientSlot) {
        self.leave(slot);
        if !std::mem::replace(&mut self.clients[slot].is_shut_out, true) {
            let top = self.top_of(slot);
            self.nodes[top].shut_out.push(slot);
            self.shut_out += 1;
        }
    }

    /// A client may join the line again.
    pub(crate) fn let_in(&mut self, slot: ClientSlot) {
        if std::mem::take(&mut self.clients[slot].is_shut_out) {
            let top = self.top_of(slot);
            self.nodes[top].shut_out.retain(|other| *other != slot);
            self.shut_out -= 1;
        }
    }

    /// All who are shut out below a top-level role may join the line again; who they are.
    pub(crate) fn let_all_in(&mut self, top: RoleSlot) -> Vec<ClientSlot> {
        let all = std::mem::take(&mut self.nodes[top].shut_out);
        for &slot in &all {
            self.clients[slot].is_shut_out = false;
        }
        self.shut_out -= all.len();
        all
    }

    /// The top-level roles of those who are shut out.
    pub(crate) fn tops_shut_out(&self) -> Vec<RoleSlot> {
        let tops = self.nodes.iter();
        let tops = tops.filter(|(_, node)| !node.shut_out.is_empty());
        tops.map(|(top, _)| top).collect()
    }

    /// Those who are shut out, in no order that says anything.
    pub(crate) fn those_shut_out(&self) -> impl Iterator<Item = ClientSlot> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|(_, node)| node.shut_out.iter().copied())
    }

    pub(crate) const fn is_any_shut_out(&self) -> bool {
        self.shut_out > 0
    }

    /// A client was given resources by a round: its turn is over, and it moves to its new place at once.
    pub(crate) fn grant(&mut self, slot: ClientSlot, resources: &Resources) {
        self.turns += 1;
        let turn = self.turns;
        self.charge(slot, Some(turn), |sums| sums.add(resources));
        self.count_special(slot, resources, Sums::add_plain);
        self.reposition_client(slot);
        self.reposition_up(self.clients[slot].role);
    }

    /// A client holds more, without having been served.
    pub(crate) fn claim(&mut self, slot: ClientSlot, resources: &Resources) {
        self.charge(slot, None, |sums| sums.add(resources));
        self.count_special(slot, resources, Sums::add_plain);
        self.note_moved(slot);
    }

    /// A client holds less.
    pub(crate) fn release(&mut self, slot: ClientSlot, resources: &Resources) {
        self.charge(slot, None, |sums| sums.remove(resources));
        self.count_special(slot, resources, Sums::remove_plain);
        self.note_moved(slot);
    }

    /// Shares are measured against `total` from the next [`Self::refresh`] on.
    pub(crate) fn set_total(&mut self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.total);
        self.stale = true;
    }

    /// Puts everybody in the place of their share: those whose holdings changed, or all when the total
    /// has.
    pub(crate) fn refresh(&mut self) {
        let mut moved = std::mem::take(&mut self.moved);
        let is_stale = std::mem::take(&mut self.stale);
        if is_stale {
            self.whole = Whole::from(&self.total);
        }
        for slot in moved.drain(..) {
            let Some(client) = self.clients.get_mut(slot) else {
                continue;
            };
            client.is_moved = false;
            if is_stale {
                continue;
            }
            let role = client.role;
            self.reposition_client(slot);
            self.reposition_up(role);
        }
        self.moved = moved;
        if is_stale {
            self.reorder_all();
        }
    }

    fn reorder_all(&mut self) {
        let (clients, whole) = (&self.clients, &self.whole);
        let slots: Vec<RoleSlot> = self.by_role.values().copied().collect();
        for &slot in &slots {
            self.nodes[slot].clients.reorder(|client| {
                let client = &clients[client];
                Urgency::new(&client.held, whole, DEFAULT_WEIGHT_MILLI, client.turn)
            });
        }
        for slot in slots {
            self.reposition(slot);
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

    /// Calls `visit` with each client in line at or below a role.
    pub(crate) fn for_each_in_line(&self, role: RoleSlot, visit: &mut impl FnMut(ClientSlot)) {
        let Some(node) = self.nodes.get(role) else {
            return;
        };
        node.clients.iter().for_each(&mut *visit);
        for child in node.children.iter() {
            self.for_each_in_line(child, visit);
        }
    }

    /// Calls `visit` with each client in line.
    pub(crate) fn for_all_in_line(&self, visit: &mut impl FnMut(ClientSlot)) {
        for role in self.top.iter() {
            self.for_each_in_line(role, visit);
        }
    }

    /// One more than the highest number of a client.
    pub(crate) fn clients_end(&self) -> usize {
        self.clients.end()
    }

    pub(crate) fn is_in_line(&self, slot: ClientSlot) -> bool {
        self.clients.get(slot).is_some_and(|client| client.in_line)
    }

    /// How many clients are in line.
    pub(crate) const fn in_line(&self) -> usize {
        self.in_line
    }

    /// Of what the frameworks of a top-level role hold, what is special; `None`: nothing.
    pub(crate) fn special_of(&self, top: RoleSlot) -> Option<&Sums> {
        self.special.get(&top)
    }

    pub(crate) fn node(&self, slot: RoleSlot) -> &Node {
        &self.nodes[slot]
    }

    /// The slot of a role that is held or configured, or stands above one.
    pub(crate) fn find(&self, role: &Role) -> Option<RoleSlot> {
        self.by_role.get(role).copied()
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

    /// What all clients hold.
    pub(crate) fn held(&self) -> Sums {
        let mut held = Sums::default();
        for (_, node) in self.nodes().filter(|(_, node)| node.parent.is_none()) {
            held.merge(&node.held);
        }
        held
    }

    pub(crate) const fn total(&self) -> &Sums {
        &self.total
    }

    const fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Changes what a client and all above it hold; places in the queues stay.
    fn charge(&mut self, slot: ClientSlot, turn: Option<u64>, change: impl Fn(&mut Sums)) {
        let client = &mut self.clients[slot];
        change(&mut client.held);
        client.turn = turn.unwrap_or(client.turn);
        let role = client.role;
        let node = &mut self.nodes[role];
        if let Some(own) = &mut node.own_held {
            change(own);
        }
        node.own_turn = turn.unwrap_or(node.own_turn);
        let mut above = Some(role);
        while let Some(role) = above {
            let node = &mut self.nodes[role];
            change(&mut node.held);
            node.turn = turn.unwrap_or(node.turn);
            above = node.parent;
        }
    }

    fn count_special(
        &mut self,
        slot: ClientSlot,
        resources: &Resources,
        change: impl Fn(&mut Sums, &Resources),
    ) {
        if !resources.has_parts() {
            return;
        }
        let top = self.top_of(slot);
        let sums = self.special.entry(top).or_default();
        for (_, part) in resources.parts() {
            change(sums, part);
        }
        if *sums == Sums::default() {
            self.special.remove(&top);
        }
    }

    fn note_moved(&mut self, slot: ClientSlot) {
        let client = &mut self.clients[slot];
        if !std::mem::replace(&mut client.is_moved, true) {
            self.moved.push(slot);
        }
    }

    /// Moves a client to the place of its share, unless it is alone in its role's line, as in most roles.
    fn reposition_client(&mut self, slot: ClientSlot) {
        let client = &self.clients[slot];
        if client.in_line && self.nodes[client.role].clients.alone().is_none() {
            self.place_client(slot);
        }
    }

    fn place_client(&mut self, slot: ClientSlot) {
        let client = &self.clients[slot];
        let urgency = Urgency::new(&client.held, &self.whole, DEFAULT_WEIGHT_MILLI, client.turn);
        self.nodes[client.role].clients.change(slot, urgency);
    }

    /// A role and all above it.
    fn reposition_up(&mut self, role: RoleSlot) {
        let mut above = Some(role);
        while let Some(role) = above {
            self.reposition(role);
            above = self.nodes[role].parent;
        }
    }

    fn reposition(&mut self, slot: RoleSlot) {
        let node = &self.nodes[slot];
        if node.is_idle() {
            return;
        }
        let urgency = node.urgency(&self.whole);
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
                let parent = &mut self.nodes[parent];
                parent.dependants += 1;
                parent.own_held.get_or_insert_with(|| parent.held.clone());
                parent.top
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
