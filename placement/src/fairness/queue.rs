//! A line of waiting clients or roles, the most urgent first.

use std::cmp::Reverse;
use std::hash::{BuildHasherDefault, Hash};
use std::num::NonZeroU32;

use priority_queue::PriorityQueue;
use rustc_hash::FxHasher;

use crate::sums::{Sums, Whole};

/// How urgent it is to serve somebody; the smaller the more. The share of the cluster it holds divided
/// by its weight, then when it was last served: no two in one line are equal.
///
/// One number, share above turn, so that two are compared in one step: a round does little else. The bits of a
/// float that is not negative are in the order of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency(u128);

impl Urgency {
    pub(super) fn new(held: &Sums, whole: &Whole, weight_milli: NonZeroU32, turn: u64) -> Self {
        let share = held.dominant_share(whole) / (f64::from(weight_milli.get()) / 1e3);
        Self(u128::from(share.to_bits()) << 64 | u128::from(turn))
    }

    /// The share by weight that it stands for.
    pub(super) const fn share(self) -> f64 {
        f64::from_bits((self.0 >> 64) as u64)
    }
}

/// The line.
#[derive(Clone, Debug)]
pub(super) struct Queue<T: Hash + Eq>(
    PriorityQueue<T, Reverse<Urgency>, BuildHasherDefault<FxHasher>>,
);

impl<T: Hash + Eq> Default for Queue<T> {
    fn default() -> Self {
        Self(PriorityQueue::with_default_hasher())
    }
}

impl<T: Copy + Hash + Eq> Queue<T> {
    pub(super) fn push(&mut self, slot: T, urgency: Urgency) {
        self.0.push(slot, Reverse(urgency));
    }

    pub(super) fn remove(&mut self, slot: T) {
        self.0.remove(&slot);
    }

    /// Moves somebody who is in line to another place.
    pub(super) fn change(&mut self, slot: T, urgency: Urgency) {
        self.0.change_priority(&slot, Reverse(urgency));
    }

    /// Gives everybody the urgency `of` says.
    pub(super) fn reorder(&mut self, of: impl Fn(T) -> Urgency) {
        for (slot, urgency) in self.0.iter_mut() {
            *urgency = Reverse(of(*slot));
        }
    }

    pub(super) fn first(&self) -> Option<(T, Urgency)> {
        self.0
            .peek()
            .map(|(slot, Reverse(urgency))| (*slot, *urgency))
    }

    /// Who is in line when nobody else is.
    pub(super) fn alone(&self) -> Option<T> {
        let (slot, _) = self.0.peek()?;
        (self.0.len() == 1).then_some(*slot)
    }

    /// Everybody in line, in no order that says anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.0.iter().map(|(slot, _)| *slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
