//! A line of waiting clients or roles, the most urgent first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
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
///
/// While the first is served again and again, as in a round that gives much, it stands as a *run*: a heap without names,
/// in which the first changes places in a quarter of the time. Whatever else happens to it ends the run.
#[derive(Clone, Debug)]
pub(super) struct Queue<T: Hash + Eq> {
    /// Who is first. Mostly nothing else is asked, and of many roles in turn: it is found without a look elsewhere.
    first: Option<(T, Urgency)>,
    /// Everybody; nobody during a run.
    order: PriorityQueue<T, Reverse<Urgency>, BuildHasherDefault<FxHasher>>,
    /// Everybody during a run.
    run: BinaryHeap<Reverse<Place<T>>>,
    /// How often the first was served and nothing else happened.
    streak: usize,
}

/// Somebody's place.
#[derive(Clone, Copy, Debug)]
struct Place<T>(Urgency, T);

/// A run begins when the first was served this often, and as often as a quarter of all who stand in line: to make
/// ready for it takes about as long.
const STREAK: usize = 16;

impl<T> PartialEq for Place<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Place<T> {}

impl<T> PartialOrd for Place<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Place<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T: Hash + Eq> Default for Queue<T> {
    fn default() -> Self {
        Self {
            first: None,
            order: PriorityQueue::with_default_hasher(),
            run: BinaryHeap::new(),
            streak: 0,
        }
    }
}

impl<T: Copy + Hash + Eq> Queue<T> {
    pub(super) fn push(&mut self, slot: T, urgency: Urgency) {
        self.end_run();
        self.streak = 0;
        self.order.push(slot, Reverse(urgency));
        self.note_first();
    }

    pub(super) fn remove(&mut self, slot: T) {
        if !self.run.is_empty() && self.is_first(slot) {
            self.run.pop();
        } else {
            self.end_run();
            self.streak = 0;
            self.order.remove(&slot);
        }
        self.note_first();
    }

    /// Moves somebody who is in line to another place.
    pub(super) fn change(&mut self, slot: T, urgency: Urgency) {
        let is_first = self.is_first(slot);
        if is_first && let Some(mut first) = self.run.peek_mut() {
            first.0.0 = urgency;
        } else {
            self.end_run();
            self.order.change_priority(&slot, Reverse(urgency));
            self.streak = if is_first { self.streak + 1 } else { 0 };
            if self.streak >= STREAK.max(self.order.len() / 4) {
                self.begin_run();
            }
        }
        self.note_first();
    }

    fn begin_run(&mut self) {
        let places = self.order.drain();
        let places = places.map(|(slot, Reverse(urgency))| Reverse(Place(urgency, slot)));
        self.run.extend(places);
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            self.streak = 0;
            let places = self.run.drain();
            self.order = places
                .map(|Reverse(Place(urgency, slot))| (slot, Reverse(urgency)))
                .collect();
        }
    }

    fn note_first(&mut self) {
        self.first = match self.run.peek() {
            Some(Reverse(Place(urgency, slot))) => Some((*slot, *urgency)),
            None => self
                .order
                .peek()
                .map(|(slot, Reverse(urgency))| (*slot, *urgency)),
        };
    }

    fn is_first(&self, slot: T) -> bool {
        self.first.is_some_and(|(first, _)| first == slot)
    }

    /// Gives everybody the urgency `of` says.
    pub(super) fn reorder(&mut self, of: impl Fn(T) -> Urgency) {
        self.end_run();
        for (slot, urgency) in self.order.iter_mut() {
            *urgency = Reverse(of(*slot));
        }
        self.note_first();
    }

    pub(super) const fn first(&self) -> Option<(T, Urgency)> {
        self.first
    }

    /// Who is in line when nobody else is.
    pub(super) fn alone(&self) -> Option<T> {
        let (slot, _) = self.first?;
        (self.order.len() + self.run.len() == 1).then_some(slot)
    }

    /// Everybody in line, in no order that says anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        let run = self.run.iter().map(|Reverse(place)| place.1);
        self.order.iter().map(|(slot, _)| *slot).chain(run)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What happens is mostly that the first is served, so that runs begin and end many times.
        #[test]
        fn a_line_is_in_order_whether_it_is_a_run_or_not(happenings in proptest::collection::vec((0_u32..200, 0_u64..1_000, 0_u8..100), 0..2_000)) {
            let mut line = Queue::default();
            let mut model = BTreeMap::new();
            for (turn, (other, share, what)) in (0..).zip(happenings) {
                let first = line.first().map(|(slot, _)| slot);
                let urgency = Urgency(u128::from(share) << 64 | turn);
                match (what, first) {
                    (0, _) => {
                        line.remove(other);
                        model.remove(&other);
                    }
                    (1, Some(first)) => {
                        line.remove(first);
                        model.remove(&first);
                    }
                    (2, _) if model.contains_key(&other) => {
                        line.change(other, urgency);
                        model.insert(other, urgency);
                    }
                    (3, _) => {
                        line.reorder(|slot| Urgency(1 << 100 | u128::from(slot)));
                        model.iter_mut().for_each(|(slot, urgency)| *urgency = Urgency(1 << 100 | u128::from(*slot)));
                    }
                    (4..80, Some(first)) => {
                        line.change(first, urgency);
                        model.insert(first, urgency);
                    }
                    _ if !model.contains_key(&other) => {
                        line.push(other, urgency);
                        model.insert(other, urgency);
                    }
                    _ => {}
                }
                let least = model.iter().min_by_key(|(_, urgency)| **urgency);
                prop_assert_eq!(line.first(), least.map(|(slot, urgency)| (*slot, *urgency)));
                prop_assert_eq!(line.alone().is_some(), model.len() == 1);
                prop_assert_eq!(line.is_empty(), model.is_empty());
                let mut all: Vec<u32> = line.iter().collect();
                all.sort_unstable();
                prop_assert_eq!(all, model.keys().copied().collect::<Vec<_>>());
            }
        }

        #[test]
        fn who_is_served_again_and_again_is_served_in_a_run(frameworks in 2_u32..100) {
            let mut line = Queue::default();
            for slot in 0..frameworks {
                line.push(slot, Urgency(u128::from(slot)));
            }
            for turn in 0..200 {
                let first = line.first();
                prop_assert_eq!(first, Some((turn % frameworks, Urgency(u128::from(turn)))));
                line.change(turn % frameworks, Urgency(u128::from(turn + frameworks)));
            }
            prop_assert!(!line.run.is_empty());
        }
    }
}
