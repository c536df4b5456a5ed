//! Which items to put out of a bin so that another one fits: the cheapest one, two or three.

use super::super::lanes::{Lane, Lanes, Vectors, fits};

/// Items of a bin that are looked at, which bounds the work in full bins: among 16 there are 560 threesomes.
/// Which 16 it is changes from step to step.
const AMONG: usize = 16;

/// Items to put out of one bin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ejection {
    pub(super) slot: usize,
    pub(super) items: [Option<u32>; 3],
}

/// Goes from bin to bin and keeps the cheapest ejection seen.
pub(super) struct Hunt<'a, L> {
    asked: &'a [Lanes<L>],
    vectors: &'a Vectors<L>,
    dear: &'a [u64],
    least: u64,
    cheapest: Option<Ejection>,
}

impl<'a, L: Lane> Hunt<'a, L> {
    /// For an item that asks `asked`; others have their sizes in `vectors` and their costs in `dear`.
    pub(super) const fn new(
        asked: &'a [Lanes<L>],
        vectors: &'a Vectors<L>,
        dear: &'a [u64],
    ) -> Self {
        Self {
            asked,
            vectors,
            dear,
            least: u64::MAX,
            cheapest: None,
        }
    }

    pub(super) const fn cheapest(&self) -> Option<Ejection> {
        self.cheapest
    }

    /// Looks into one bin; of more than [`AMONG`] items at those from `turn` on.
    pub(super) fn look_into(&mut self, slot: usize, free: &[Lanes<L>], items: &[u32], turn: usize) {
        let first = turn.min(items.len().saturating_sub(AMONG));
        let items = &items[first..items.len().min(first + AMONG)];
        for (a_at, &a) in items.iter().enumerate() {
            let cost = self.dear[a as usize];
            if cost >= self.least {
                continue;
            }
            let a_size = self.vectors.get(a as usize);
            if fits(free, [a_size], self.asked) {
                self.found(slot, [Some(a), None, None], cost);
                continue;
            }
            for (b_at, &b) in items[..a_at].iter().enumerate() {
                let cost = cost.saturating_add(self.dear[b as usize]);
                if cost >= self.least {
                    continue;
                }
                let b_size = self.vectors.get(b as usize);
                if fits(free, [a_size, b_size], self.asked) {
                    self.found(slot, [Some(a), Some(b), None], cost);
                    continue;
                }
                for &c in &items[..b_at] {
                    let cost = cost.saturating_add(self.dear[c as usize]);
                    let c_size = self.vectors.get(c as usize);
                    if cost < self.least && fits(free, [a_size, b_size, c_size], self.asked) {
                        self.found(slot, [Some(a), Some(b), Some(c)], cost);
                    }
                }
            }
        }
    }

    const fn found(&mut self, slot: usize, items: [Option<u32>; 3], cost: u64) {
        self.least = cost;
        self.cheapest = Some(Ejection { slot, items });
    }
}
