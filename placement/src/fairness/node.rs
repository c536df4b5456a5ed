//! A role: what its frameworks hold, and who below it is in line.

use std::num::NonZeroU32;

use mete_model::Role;

use super::DEFAULT_WEIGHT_MILLI;
use super::queue::{Queue, Urgency};
use crate::slots::{ClientSlot, RoleSlot};
use crate::sums::{Sums, Whole};

/// A role and what hangs below it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) role: Role,
    pub(crate) weight_milli: NonZeroU32,
    /// Of all below, too.
    pub(crate) held: Sums,
    /// Of the role's own frameworks: they compete with the child roles as one. `None` while there never was a child
    /// role: it is all that is held.
    pub(super) own_held: Option<Sums>,
    pub(super) own_turn: u64,
    pub(super) turn: u64,
    pub(super) parent: Option<RoleSlot>,
    pub(super) top: RoleSlot,
    pub(super) children: Queue<RoleSlot>,
    pub(super) clients: Queue<ClientSlot>,
    /// Of a top-level role: clients at or below it that are shut out.
    pub(super) shut_out: Vec<ClientSlot>,
    /// Children and clients, in line or not.
    pub(super) dependants: usize,
    /// Has a limit or a guarantee.
    pub(crate) has_quota: bool,
}

impl Node {
    /// A role that nobody holds; a top-level role until it is told otherwise.
    pub(super) fn new(role: Role, parent: Option<RoleSlot>, turn: u64) -> Self {
        Self {
            role,
            weight_milli: DEFAULT_WEIGHT_MILLI,
            held: Sums::default(),
            own_held: None,
            own_turn: turn,
            turn,
            parent,
            top: RoleSlot::from(0),
            children: Queue::default(),
            clients: Queue::default(),
            shut_out: Vec::new(),
            dependants: 0,
            has_quota: false,
        }
    }

    /// Nobody at or below it is in line.
    pub(super) fn is_idle(&self) -> bool {
        self.children.is_empty() && self.clients.is_empty()
    }

    pub(super) fn urgency(&self, whole: &Whole) -> Urgency {
        Urgency::new(&self.held, whole, self.weight_milli, self.turn)
    }

    pub(super) fn own_urgency(&self, whole: &Whole) -> Urgency {
        let held = self.own_held.as_ref().unwrap_or(&self.held);
        Urgency::new(held, whole, DEFAULT_WEIGHT_MILLI, self.own_turn)
    }
}
