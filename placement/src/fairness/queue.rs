//! A line of waiting clients or roles, the most urgent first.

use std::cmp::Reverse;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::num::NonZeroU32;

use priority_queue::PriorityQueue;

use crate::sums::Sums;

/// How urgent it is to serve somebody; the smaller the more. The share of the cluster it holds divided
/// by its weight, then when it was last served: no two in one line are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency {
    /// The bits of a float that is not negative: they are in the order of the numbers.
    share: u64,
    turn: u64,
}

impl Urgency {
    pub(super) fn new(held: &Sums, total: &Sums, weight_milli: NonZeroU32, turn: u64) -> Self {
        let share = held.dominant_share(total) / (f64::from(weight_milli.get()) / 1e3);
        Self {
            share: share.to_bits(),
            turn,
        }
    }
}

/// Slots are small numbers that nobody outside can choose, so one multiplication spreads them well
/// enough (by 2^64 divided by the golden ratio) and costs a tenth of the standard library's hash.
#[derive(Clone, Copy, Debug, Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The line.
#[derive(Clone, Debug)]
pub(super) struct Queue<T: Hash + Eq>(
    PriorityQueue<T, Reverse<Urgency>, BuildHasherDefault<SlotHasher>>,
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

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
