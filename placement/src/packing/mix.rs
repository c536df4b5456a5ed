//! What is typical: which tasks are asked for and how often, and which machines there are.
//!
//! Whoever places tasks notes what is asked; nothing has to be known beforehand. What policies need is
//! worked out of it ([`Digest`]) whenever as much has been noted again as before, so that scores that are
//! kept stay valid for long, and [`Mix::version`] changes with it. All numbers are integers and
//! bounded: beyond [`MAX_SHAPES`] shapes the rarest is forgotten, and beyond [`MOST_NOTED`] tasks all
//! weights are halved, so that what is asked now counts more than what was asked long ago.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Resources;

use super::amounts::{Ask, Gpus};
use super::digest::Digest;
use crate::sums::scalars;

/// Most shapes that are kept apart. The largest published GPU trace has 330 with all constraints; those
/// beyond 256 are less than one in a hundred of its tasks.
pub const MAX_SHAPES: usize = 256;
/// Weights are halved when they sum to more: enough for shapes of one in a thousand to be seen many times.
const MOST_NOTED: u64 = 1 << 16;
/// One demand counts for at most so many tasks, lest it is all that is remembered, or has all worked out anew.
const MOST_AT_ONCE: u32 = 1 << 10;
/// What is known is worked out again at the latest after so many tasks: the weight that is left after halving.
const LATEST: u64 = MOST_NOTED / 2;
/// Prices are worked out again when one in so many GPUs has come or gone.
const SUPPLY_PART: u64 = 8;
/// Kinds of machines that are told apart; those with higher numbers count as one.
pub(super) const GROUPS: usize = 64;

/// On which kinds of machines a task may run, by [`Node::group`](super::Node::group).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Groups(u64);

impl Groups {
    /// On any.
    pub const ANY: Self = Self(u64::MAX);

    /// Whether machines of this kind are among them.
    pub const fn allow(self, group: u16) -> bool {
        self.0 >> index(group) & 1 == 1
    }
}

impl FromIterator<u16> for Groups {
    fn from_iter<I: IntoIterator<Item = u16>>(groups: I) -> Self {
        let bits = groups.into_iter().map(|group| 1 << index(group));
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

/// What all kinds from 63 on share.
pub(super) const fn index(group: u16) -> usize {
    if (group as usize) < GROUPS {
        group as usize
    } else {
        GROUPS - 1
    }
}

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) gpus: Gpus,
    pub(super) cpus_milli: u64,
    pub(super) mem_milli: u64,
    pub(super) disk_milli: u64,
    pub(super) groups: Groups,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Mix {
    shapes: BTreeMap<Shape, u64>,
    /// The weights' sum.
    noted: u64,
    /// Noted since the digest.
    since: u64,
    largest: [u64; 4],
    /// Thousandths of GPUs by kind of machine.
    supply: [u64; GROUPS],
    /// How much of that has come or gone since the digest.
    moved: u64,
    version: u64,
    scale_version: u64,
    digest: Arc<Digest>,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            shapes: BTreeMap::new(),
            noted: 0,
            since: 0,
            largest: [0; 4],
            supply: [0; GROUPS],
            moved: 0,
            version: 0,
            scale_version: 0,
            digest: Arc::default(),
        }
    }
}

impl Mix {
    /// Nothing noted yet; kinds of resources are compared as parts of `largest`, until a machine has more.
    pub fn new(largest: &Resources) -> Self {
        Self {
            largest: scalars(&largest.flat()),
            ..Self::default()
        }
    }

    /// Notes that `times` tasks are asked for that may run on these kinds of machines. Whoever waits is noted
    /// once, not at each attempt.
    pub fn note(&mut self, asked: &Resources, groups: Groups, times: u32) {
        let times = u64::from(times.min(MOST_AT_ONCE));
        if times == 0 {
            return;
        }
        let ask = Ask::of(&asked.flat());
        let shape = Shape {
            gpus: ask.gpus,
            cpus_milli: ask.cpus_milli,
            mem_milli: ask.mem_milli,
            disk_milli: ask.disk_milli,
            groups,
        };
        if self.shapes.len() >= MAX_SHAPES && !self.shapes.contains_key(&shape) {
            self.forget_rarest();
        }
        *self.shapes.entry(shape).or_insert(0) += times;
        self.noted += times;
        self.since += times;
        while self.noted > MOST_NOTED {
            self.halve();
        }
        let known = self.noted - self.since.min(self.noted);
        if self.since >= known.clamp(1, LATEST) {
            self.work_out();
        }
    }

    /// Works out what is known now, without waiting for more: for those who know their tasks beforehand.
    pub fn settle(&mut self) {
        self.work_out();
    }

    /// A machine has joined.
    pub fn add_machine(&mut self, total: &Resources, group: u16) {
        let scalars = scalars(&total.flat());
        let is_larger = scalars
            .iter()
            .zip(self.largest)
            .any(|(new, old)| *new > old);
        if is_larger {
            for (largest, new) in self.largest.iter_mut().zip(scalars) {
                *largest = new.max(*largest);
            }
            self.version += 1;
            self.scale_version += 1;
        }
        let [_, _, _, gpus_milli] = scalars;
        let supply = &mut self.supply[index(group)];
        *supply = supply.saturating_add(gpus_milli);
        self.supply_moved(gpus_milli);
    }

    /// A machine that was added has left. What is compared as parts of the largest stays so.
    pub fn remove_machine(&mut self, total: &Resources, group: u16) {
        let gpus_milli = total.flat().gpus_milli;
        let supply = &mut self.supply[index(group)];
        *supply = supply.saturating_sub(gpus_milli);
        self.supply_moved(gpus_milli);
    }

    /// Another one when scores may differ from before.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Another one when [`size`](super::size) may differ from before.
    pub const fn scale_version(&self) -> u64 {
        self.scale_version
    }

    pub(super) const fn largest(&self) -> [u64; 4] {
        self.largest
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    fn supply_moved(&mut self, gpus_milli: u64) {
        self.moved = self.moved.saturating_add(gpus_milli);
        let supply = self
            .supply
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(*one));
        // Only tasks that may not run everywhere make prices differ.
        if self.digest.is_choosy() && self.moved > supply / SUPPLY_PART {
            self.work_out();
        }
    }

    fn forget_rarest(&mut self) {
        let rarest = self.shapes.iter().min_by_key(|(_, weight)| **weight);
        if let Some((shape, weight)) = rarest.map(|(shape, weight)| (*shape, *weight)) {
            self.shapes.remove(&shape);
            self.noted -= weight;
        }
    }

    fn halve(&mut self) {
        self.shapes.retain(|_, weight| {
            *weight /= 2;
            *weight > 0
        });
        self.noted = self.shapes.values().sum();
    }

    fn work_out(&mut self) {
        self.since = 0;
        self.moved = 0;
        let digest = Digest::of(&self.shapes, &self.supply);
        if digest != *self.digest {
            self.digest = Arc::new(digest);
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(cpus_milli: u64, gpus_milli: u64) -> Resources {
        let mut all = Resources::cpus_mem(cpus_milli, 1_024);
        all.gpus_milli = gpus_milli;
        all
    }

    #[test]
    fn is_worked_out_when_as_much_again_has_been_noted() {
        let mut mix = Mix::default();

        let versions: Vec<u64> = (1..=16)
            .map(|cpus| {
                mix.note(&gpu(cpus, 500), Groups::ANY, 1);
                mix.version()
            })
            .collect();

        assert_eq!(versions, [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]);
    }

    #[test]
    fn tasks_without_gpus_change_no_score() {
        let mut mix = Mix::default();

        for cpus in 1..1_000 {
            mix.note(&Resources::cpus_mem(cpus, 1), Groups::ANY, 3);
        }

        assert_eq!(mix.version(), 0);
    }

    #[test]
    fn thousands_of_shapes_and_endless_counts_stay_bounded() {
        let mut mix = Mix::default();

        for cpus in 0..2_000 {
            mix.note(&gpu(cpus, 1 + cpus % 1_999), Groups::ANY, u32::MAX);
        }

        assert!(mix.shapes.len() <= MAX_SHAPES);
        assert!(mix.noted <= MOST_NOTED);
        assert_eq!(mix.noted, mix.shapes.values().sum::<u64>());
    }

    #[test]
    fn what_is_asked_now_outweighs_what_was_asked_long_ago() {
        let mut mix = Mix::default();
        for _ in 0..10 {
            mix.note(&gpu(1, 400), Groups::ANY, 1_000);
        }

        for _ in 0..200 {
            mix.note(&gpu(1, 500), Groups::ANY, 1_000);
        }

        let weights: Vec<u64> = mix.shapes.values().copied().collect();
        assert!(weights.last() > weights.first());
        assert!(weights.first().is_some_and(|old| *old < 2_000));
    }

    #[test]
    fn groups_beyond_those_told_apart_count_as_one() {
        let some: Groups = [2, 500].into_iter().collect();

        assert!(some.allow(2) && some.allow(63) && some.allow(u16::MAX));
        assert!(!some.allow(0) && !some.allow(62));
        assert!(Groups::ANY.allow(0) && Groups::ANY.allow(u16::MAX));
    }
}
