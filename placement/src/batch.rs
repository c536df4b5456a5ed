//! Plans for many tasks on many bins at once: all waiting tasks, a what-if, machines to be emptied.
//!
//! A [`Plan`] begins as the best of some greedy packings and is made better by [`improve`], in as many steps
//! as the caller has time for: one step takes some microseconds. A plan is complete and valid at any time.
//! First as many items as possible get a place, then as few bins as possible are used. The same items, bins,
//! steps and seeds give the same plan.
//!
//! [`Plan`] packs vectors of numbers; [`TaskPlan`] tasks onto what agents or offers have free.

pub(crate) mod dice; // random numbers from a seed
mod lanes; // vectors, eight numbers at a time
mod measure; // how large an item is, as one number
mod packed; // which item lies where
mod problem; // items and bins, in units of their own
mod search; // closing bins and pressing their items into others
mod start; // the first, greedy plan
mod tasks; // tasks and free resources as vectors, and back

#[cfg(test)]
mod tests;

use dice::Dice;
use measure::Measure;
use packed::Packed;
use problem::{Bins, Problem};
use search::Search;

pub use problem::BadSizes;
pub use tasks::{Ask, Layout, TaskPlan};

/// Items laid into bins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As the caller gave it.
    problem: Problem,
    /// Sorted.
    too_big: Vec<u32>,
    lower_bound: usize,
    best: Packed,
    search: Search,
    /// How often it has been improved, so that each slice of a run has numbers of its own.
    turns: u64,
}

impl Plan {
    /// Packs `items` into as few bins of one kind as possible.
    ///
    /// # Errors
    /// When a vector has another length than `capacity`.
    pub fn identical(items: Vec<Vec<u64>>, capacity: Vec<u64>) -> Result<Self, BadSizes> {
        Problem::new(items, Bins::Alike(capacity)).map(Self::start)
    }

    /// Packs as many of `items` as possible into `bins`, and then into as few of them as possible.
    ///
    /// # Errors
    /// When a vector has another length than the first bin.
    pub fn on_bins(items: Vec<Vec<u64>>, bins: Vec<Vec<u64>>) -> Result<Self, BadSizes> {
        Problem::new(items, Bins::Each(bins)).map(Self::start)
    }

    fn start(problem: Problem) -> Self {
        let too_big = problem.too_big();
        let reduced = problem.reduced(&too_big);
        let measure = Measure::new(&reduced);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "items are counted when a problem is made"
        )]
        let count = problem.items().len() as u32;
        let items: Vec<u32> = (0..count)
            .filter(|item| too_big.binary_search(item).is_err())
            .collect();
        let best = start::start(&reduced, &measure, &items);
        Self {
            lower_bound: problem.lower_bound(&too_big),
            search: Search::from(&reduced, &measure, &best),
            problem,
            too_big,
            best,
            turns: 0,
        }
    }

    /// How many bins are used.
    pub const fn bins_used(&self) -> usize {
        self.best.bins.len()
    }

    /// The bins used and the items in each, by number. Of identical bins the numbers only tell them apart.
    pub fn bins(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let bins = self.best.bins.iter();
        bins.map(|filled| (filled.bin as usize, filled.items.as_slice()))
    }

    /// Items that would fit into some bin, but found no place among the others.
    pub fn unplaced(&self) -> &[u32] {
        &self.best.unplaced
    }

    /// Items larger than any bin, in order.
    pub fn too_big(&self) -> &[u32] {
        &self.too_big
    }

    /// No plan that places all items that are not too big uses fewer bins.
    pub const fn lower_bound(&self) -> usize {
        self.lower_bound
    }

    /// Whether it cannot be better: every item that is not too big has a place, in as few bins as the
    /// [`lower_bound`](Self::lower_bound) says.
    pub fn is_ideal(&self) -> bool {
        self.best.badness() <= (0, self.lower_bound)
    }

    /// Checks the plan against what it was made of, from nothing but the sizes as they were given.
    ///
    /// # Errors
    /// The first thing that is wrong, which would be a fault of this crate.
    pub fn verify(&self) -> Result<(), Flaw> {
        let mut seen = vec![0_u32; self.problem.items().len()];
        let placed = self.best.bins.iter().flat_map(|filled| &filled.items);
        for &item in placed.chain(&self.best.unplaced).chain(&self.too_big) {
            seen[item as usize] += 1;
        }
        if let Some(item) = seen.iter().position(|times| *times != 1) {
            let times = seen[item];
            return Err(Flaw::NotOnce { item, times });
        }
        let mut is_used = vec![false; self.problem.bin_count()];
        for (bin, items) in self.bins() {
            if std::mem::replace(&mut is_used[bin], true) {
                return Err(Flaw::BinTwice { bin });
            }
            self.verify_bin(bin, items)?;
        }
        let (used, bound) = (self.bins_used(), self.lower_bound);
        if self.unplaced().is_empty() && used < bound {
            return Err(Flaw::UnderBound { used, bound });
        }
        Ok(())
    }

    fn verify_bin(&self, bin: usize, items: &[u32]) -> Result<(), Flaw> {
        for (dim, &capacity) in self.problem.capacity(bin).iter().enumerate() {
            let sizes = items
                .iter()
                .map(|&item| self.problem.items()[item as usize][dim]);
            let used: u128 = sizes.map(u128::from).sum();
            if used > u128::from(capacity) {
                return Err(Flaw::Overfull {
                    bin,
                    dim,
                    used,
                    capacity,
                });
            }
        }
        Ok(())
    }
}

/// Makes up to `steps` steps to improve the plan; it never becomes worse. True when it became better.
///
/// Time is spent in slices: call it again with as many steps as the time left allows, with the same seed or
/// another one. It returns early once the plan [is ideal](Plan::is_ideal).
pub fn improve(plan: &mut Plan, steps: u64, seed: u64) -> bool {
    let before = plan.best.badness();
    let mut dice = Dice::new(seed, plan.turns);
    plan.turns += 1;
    plan.search
        .run(steps, plan.lower_bound, &mut dice, &mut plan.best);
    plan.best.badness() < before
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An item is missing, or there more than once.
    #[error("item {item} is there {times} times")]
    NotOnce {
        /// Its number.
        item: usize,
        /// How often it is in the plan.
        times: u32,
    },
    /// One bin is listed twice.
    #[error("bin {bin} is there twice")]
    BinTwice {
        /// Its number.
        bin: usize,
    },
    /// More is in a bin than it holds.
    #[error("bin {bin} holds {used} of {capacity} in dimension {dim}")]
    Overfull {
        /// Its number.
        bin: usize,
        /// Which of the dimensions.
        dim: usize,
        /// The sum of the items in it.
        used: u128,
        /// What it holds.
        capacity: u64,
    },
    /// Fewer bins than can be: then the bound is wrong.
    #[error("{used} bins are used where {bound} are needed at least")]
    UnderBound {
        /// How many bins are used.
        used: usize,
        /// The lower bound.
        bound: usize,
    },
}
