//! Makes a plan better: a bin is closed, and its items are pressed into the others until all have a place.
//!
//! ```text
//! all items placed ──close the least filled bin──▶ its items wait in the pool
//!        ▲                                           │ one of them at random
//!        │                                           ▼
//!        └──pool empty── put in where it is tightest ◀─fits somewhere─┐
//!                                                     └─fits nowhere─▶ put in where the cheapest one to three
//!                                                                      items come out, which wait in turn
//! ```
//! What an item costs to put out is its size squared, times how often it has found no room: items that are
//! hard to place become dear and stay, easy ones wander (the guided ejection search of Nagata and Bräysy for
//! vehicle routes, by shares of a bin instead of counts). Penalties are never forgotten: starting them anew
//! with each bin cost 0.6 % more bins over the 500-item instances of the public vector packing set.
//! Between two ejections a few items move or swap at random, rather so that what is free comes together.

mod ejection; // the cheapest items to put out

use super::dice::Dice;
use super::lanes::{Lane, Lanes, Vectors, fits};
use super::measure::Measure;
use super::packed::{Filled, Packed};
use super::problem::Problem;

use ejection::Hunt;

/// Bins looked at in one step at most: a step takes some microseconds with hundreds of bins, and must not
/// take milliseconds with a hundred thousand. Fewer than all of them is a loss: looking at 40 of 170
/// cost 2 % more bins.
const LOOK_AT: usize = 2_048;

/// Random moves after an ejection: 5 gave 0.3 % more bins than 20 to 60, which are equal.
const SHAKES: usize = 30;

/// How much worse a random move may make it, as sum of squares of what is free in a bin, in millionths
/// squared: 0.003 of a bin squared. From 0.0005 to 0.03 it makes little difference; no bound is worse.
const SLACK: usize = 3_000_000_000;

/// How often each item counts as having found no room at the beginning; more smooths what single failures say.
const FIRST_FAILURES: u64 = 10;

/// A search with numbers just wide enough for the problem at hand.
#[derive(Clone, Debug)]
pub(super) enum Search {
    Narrow(Lots<i16>),
    Wide(Lots<i64>),
    Widest(Lots<i128>),
}

impl Search {
    /// Goes on from `packed`, which holds no item too big for every bin.
    pub(super) fn from(problem: &Problem, measure: &Measure, packed: &Packed) -> Self {
        let largest = problem.scale().into_iter().max().unwrap_or(0);
        if i16::try_from(largest).is_ok() {
            Self::Narrow(Lots::new(problem, measure, packed))
        } else if i64::try_from(largest).is_ok() {
            Self::Wide(Lots::new(problem, measure, packed))
        } else {
            Self::Widest(Lots::new(problem, measure, packed))
        }
    }

    /// Makes up to `steps` steps and puts what is better into `best`; ends when `best` has all items in
    /// `enough` bins.
    pub(super) fn run(&mut self, steps: u64, enough: usize, dice: &mut Dice, best: &mut Packed) {
        match self {
            Self::Narrow(lots) => lots.run(steps, enough, dice, best),
            Self::Wide(lots) => lots.run(steps, enough, dice, best),
            Self::Widest(lots) => lots.run(steps, enough, dice, best),
        }
    }
}

/// An open bin.
#[derive(Clone, Debug)]
struct Slot {
    filled: Filled,
    /// What is free, in millionths of a largest bin.
    idle: i64,
}

/// Open bins, their items, and the pool of those that wait.
#[derive(Clone, Debug)]
pub(super) struct Lots<L> {
    /// By item.
    vectors: Vectors<L>,
    sizes: Vec<i64>,
    costs: Vec<u64>,
    /// By item: its cost times how often it found no room.
    dear: Vec<u64>,
    /// By slot: what is free.
    free: Vectors<L>,
    slots: Vec<Slot>,
    pool: Vec<u32>,
}

impl<L: Lane> Lots<L> {
    fn new(problem: &Problem, measure: &Measure, packed: &Packed) -> Self {
        let mut vectors = Vectors::new(problem.dims());
        for item in problem.items() {
            vectors.push(item);
        }
        let costs = measure.costs();
        let mut lots = Self {
            vectors,
            sizes: measure.sizes.clone(),
            dear: costs.iter().map(|cost| cost * FIRST_FAILURES).collect(),
            costs,
            free: Vectors::new(problem.dims()),
            slots: Vec::new(),
            pool: packed.unplaced.clone(),
        };
        for filled in &packed.bins {
            lots.open(problem, measure, filled);
        }
        if !packed.unplaced.is_empty() {
            lots.open_the_others(problem, measure);
        }
        lots
    }

    fn open(&mut self, problem: &Problem, measure: &Measure, filled: &Filled) {
        let capacity = problem.capacity(filled.bin as usize);
        let empty = Filled {
            bin: filled.bin,
            items: Vec::new(),
        };
        self.free.push(capacity);
        self.slots.push(Slot {
            filled: empty,
            idle: measure.size(capacity),
        });
        for &item in &filled.items {
            self.put_in(self.slots.len() - 1, item);
        }
    }

    /// Where not all items have a place, no bin may stay unused.
    fn open_the_others(&mut self, problem: &Problem, measure: &Measure) {
        let mut is_open = vec![false; problem.bin_count()];
        for slot in &self.slots {
            is_open[slot.filled.bin as usize] = true;
        }
        for (bin, _) in (0_u32..).zip(is_open).filter(|(_, is_open)| !is_open) {
            let items = Vec::new();
            self.open(problem, measure, &Filled { bin, items });
        }
    }

    fn run(&mut self, steps: u64, enough: usize, dice: &mut Dice, best: &mut Packed) {
        for _ in 0..steps {
            if best.badness() <= (0, enough) {
                return;
            }
            self.step(dice);
            if self.pool.len() <= best.unplaced.len() && self.badness() < best.badness() {
                *best = self.packed();
            }
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        if self.pool.is_empty() {
            self.close_one();
            return;
        }
        let item = self.pool.swap_remove(dice.below(self.pool.len()));
        if let Some(slot) = self.tightest(item, dice) {
            self.put_in(slot, item);
            return;
        }
        let dear = &mut self.dear[item as usize];
        *dear = dear.saturating_add(self.costs[item as usize]);
        self.press_in(item, dice);
        for _ in 0..SHAKES {
            self.shake(dice);
        }
    }

    /// Closes the bin with least in it (any other at random: 0.3 % more bins); empty ones are closed for nothing.
    fn close_one(&mut self) {
        for slot in (0..self.slots.len()).rev() {
            if self.slots[slot].filled.items.is_empty() {
                self.close(slot);
            }
        }
        let load = |slot: &Slot| -> i64 {
            let items = slot.filled.items.iter();
            items.map(|&item| self.sizes[item as usize]).sum()
        };
        let least = (0..self.slots.len()).min_by_key(|&slot| load(&self.slots[slot]));
        if let Some(least) = least {
            self.close(least);
        }
    }

    fn close(&mut self, slot: usize) {
        self.pool.extend(self.slots.swap_remove(slot).filled.items);
        self.free.swap_remove(slot);
    }

    /// The slots to look at, beginning anywhere.
    fn some_slots(&self, dice: &mut Dice) -> impl Iterator<Item = usize> + use<L> {
        let count = self.slots.len();
        let first = dice.below(count);
        (first..count).chain(0..first).take(LOOK_AT)
    }

    /// Where the item fits and least is free.
    fn tightest(&self, item: u32, dice: &mut Dice) -> Option<usize> {
        let asked = self.vectors.get(item as usize);
        let mut best = None;
        let mut least = i64::MAX;
        for slot in self.some_slots(dice) {
            let idle = self.slots[slot].idle;
            if idle < least && fits(self.free.get(slot), [], asked) {
                least = idle;
                best = Some(slot);
            }
        }
        best
    }

    /// Puts the item in where it is cheapest to put others out; back into the pool if that is nowhere.
    fn press_in(&mut self, item: u32, dice: &mut Dice) {
        let mut hunt = Hunt::new(self.vectors.get(item as usize), &self.vectors, &self.dear);
        for slot in self.some_slots(dice) {
            let turn = dice.below(self.slots[slot].filled.items.len());
            hunt.look_into(
                slot,
                self.free.get(slot),
                &self.slots[slot].filled.items,
                turn,
            );
        }
        let Some(cheapest) = hunt.cheapest() else {
            self.pool.push(item);
            return;
        };
        for out in cheapest.items.into_iter().flatten() {
            self.put_out(cheapest.slot, out);
            self.pool.push(out);
        }
        self.put_in(cheapest.slot, item);
    }

    /// Moves a random item to a random bin, or swaps it with one there, if both have room and what is free
    /// does not become much more scattered.
    fn shake(&mut self, dice: &mut Dice) {
        let (from, to) = (dice.below(self.slots.len()), dice.below(self.slots.len()));
        let there = self
            .slots
            .get(to)
            .map_or(&[][..], |slot| &slot.filled.items);
        let other = there.get(dice.below(there.len() + 1)).copied();
        let Some(slot) = self.slots.get(from).filter(|_| from != to) else {
            return;
        };
        let Some(&item) = slot.filled.items.get(dice.below(slot.filled.items.len())) else {
            return;
        };
        let moved = self.sizes[item as usize] - other.map_or(0, |other| self.sizes[other as usize]);
        // (a + m)² + (b - m)² - a² - b², a and b being what is free in both.
        let gathered = 2 * moved * (slot.idle - self.slots[to].idle + moved);
        let slack = i64::try_from(dice.below(SLACK)).unwrap_or(0);
        if gathered >= -slack && self.can_trade(from, item, to, other) {
            self.put_out(from, item);
            if let Some(other) = other {
                self.put_out(to, other);
                self.put_in(from, other);
            }
            self.put_in(to, item);
        }
    }

    fn can_trade(&self, from: usize, item: u32, to: usize, other: Option<u32>) -> bool {
        let (here, there) = (self.free.get(from), self.free.get(to));
        let item = self.vectors.get(item as usize);
        let Some(other) = other else {
            return fits(there, [], item);
        };
        let other: &[Lanes<L>] = self.vectors.get(other as usize);
        fits(there, [other], item) && fits(here, [item], other)
    }

    fn put_in(&mut self, slot: usize, item: u32) {
        self.free.subtract(slot, self.vectors.get(item as usize));
        self.slots[slot].idle -= self.sizes[item as usize];
        self.slots[slot].filled.items.push(item);
    }

    fn put_out(&mut self, slot: usize, item: u32) {
        self.free.add(slot, self.vectors.get(item as usize));
        let slot = &mut self.slots[slot];
        slot.idle += self.sizes[item as usize];
        if let Some(at) = slot.filled.items.iter().position(|&one| one == item) {
            slot.filled.items.swap_remove(at);
        }
    }

    fn badness(&self) -> (usize, usize) {
        let used = self
            .slots
            .iter()
            .filter(|slot| !slot.filled.items.is_empty());
        (self.pool.len(), used.count())
    }

    fn packed(&self) -> Packed {
        let used = self
            .slots
            .iter()
            .filter(|slot| !slot.filled.items.is_empty());
        Packed {
            bins: used.map(|slot| slot.filled.clone()).collect(),
            unplaced: self.pool.clone(),
        }
    }
}
