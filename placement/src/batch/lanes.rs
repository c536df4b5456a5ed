//! Vectors laid out for comparing eight numbers at once, in the narrowest kind of number that holds them.

use std::ops::{Add, Sub};

/// Numbers handled together. Eight of sixteen bits are one register of every machine we run on.
const LANES: usize = 8;

/// Eight dimensions of a vector; those beyond its length are zero.
pub(super) type Lanes<L> = [L; LANES];

/// A signed number that holds any capacity and its negative.
pub(super) trait Lane:
    Copy + Default + Ord + Add<Output = Self> + Sub<Output = Self> + TryFrom<u64>
{
}

impl Lane for i16 {}
impl Lane for i64 {}
impl Lane for i128 {}

/// Many vectors of one length.
#[derive(Clone, Debug)]
pub(super) struct Vectors<L> {
    /// How many eights one vector takes.
    width: usize,
    all: Vec<Lanes<L>>,
}

impl<L: Lane> Vectors<L> {
    pub(super) const fn new(dims: usize) -> Self {
        Self {
            width: dims.div_ceil(LANES),
            all: Vec::new(),
        }
    }

    /// Adds one at the end. Numbers too large for the lane become zero; the caller has chosen a lane that
    /// holds all.
    pub(super) fn push(&mut self, vector: &[u64]) {
        let lane = |&number: &u64| L::try_from(number).unwrap_or_default();
        for eight in vector.chunks(LANES) {
            let mut lanes = [L::default(); LANES];
            lanes
                .iter_mut()
                .zip(eight)
                .for_each(|(to, from)| *to = lane(from));
            self.all.push(lanes);
        }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> &[Lanes<L>] {
        &self.all[index * self.width..][..self.width]
    }

    #[inline]
    fn get_mut(&mut self, index: usize) -> &mut [Lanes<L>] {
        &mut self.all[index * self.width..][..self.width]
    }

    #[inline]
    pub(super) fn add(&mut self, index: usize, more: &[Lanes<L>]) {
        combine(self.get_mut(index), more, |a, b| a + b);
    }

    #[inline]
    pub(super) fn subtract(&mut self, index: usize, less: &[Lanes<L>]) {
        combine(self.get_mut(index), less, |a, b| a - b);
    }

    /// Takes the last vector's place to where `index` was.
    pub(super) fn swap_remove(&mut self, index: usize) {
        let last = self.all.len() - self.width;
        self.all.copy_within(last.., index * self.width);
        self.all.truncate(last);
    }
}

#[inline]
fn combine<L: Lane>(to: &mut [Lanes<L>], from: &[Lanes<L>], with: impl Fn(L, L) -> L) {
    for (to, from) in to.iter_mut().zip(from) {
        for lane in 0..LANES {
            to[lane] = with(to[lane], from[lane]);
        }
    }
}

/// Whether `asked` fits where `free` is once all of `given` are out.
#[inline]
pub(super) fn fits<L: Lane, const N: usize>(
    free: &[Lanes<L>],
    given: [&[Lanes<L>]; N],
    asked: &[Lanes<L>],
) -> bool {
    for eight in 0..free.len().min(asked.len()) {
        let mut short = false;
        for lane in 0..LANES {
            let mut room = free[eight][lane];
            for one in &given {
                room = room + one[eight][lane];
            }
            // No early exit: the eight are compared in one go.
            short |= room < asked[eight][lane];
        }
        if short {
            return false;
        }
    }
    true
}
