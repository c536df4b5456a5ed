//! A first plan in one pass: the best of the greedy ways known to be good.
//!
//! Bin after bin with the item whose dot product with what is free is largest, weights being what the items
//! left ask on average, is the best single one of 351 published algorithms. Sorting by size and taking the
//! first bin that fits is cheaper, and sometimes better.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::measure::Measure;
use super::packed::{Filled, Packed};
use super::problem::{Problem, fits};

/// Products looked at by the bin-centric start at most, some tenths of a second; beyond that only first fit
/// is tried. Tasks of a cluster have few sizes: ten thousand tasks of a thousand sizes are within it.
const MOST_PRODUCTS: usize = 10_000_000;

/// The best first plan for `items`.
pub(super) fn start(problem: &Problem, measure: &Measure, items: &[u32]) -> Packed {
    let order = largest_bins_first(problem, measure);
    let kinds = kinds_of(problem, items);
    let mut tries = vec![
        first_fit(problem, &order, by_size(items, |item| measure.sizes[item])),
        first_fit(problem, &order, by_size(items, longest_side(problem))),
    ];
    if kinds.len().saturating_mul(items.len()) <= MOST_PRODUCTS {
        tries.push(bin_centric(problem, &order, kinds));
    }
    let best = tries.into_iter().min_by_key(Packed::badness);
    best.unwrap_or_default()
}

fn largest_bins_first(problem: &Problem, measure: &Measure) -> Vec<usize> {
    let mut order: Vec<usize> = (0..problem.bin_count()).collect();
    order.sort_by_cached_key(|&bin| (Reverse(measure.size(problem.capacity(bin))), bin));
    order
}

fn by_size<K: Ord>(items: &[u32], size: impl Fn(usize) -> K) -> Vec<u32> {
    let mut sorted = items.to_vec();
    sorted.sort_by_cached_key(|&item| (Reverse(size(item as usize)), item));
    sorted
}

/// The largest share of a bin that an item asks in any dimension, in millionths.
fn longest_side(problem: &Problem) -> impl Fn(usize) -> u128 {
    let scale = problem.scale();
    move |item| {
        let sides = problem.items()[item].iter().zip(&scale);
        let share = sides.map(|(&size, &scale)| u128::from(size) * 1_000_000 / u128::from(scale));
        share.max().unwrap_or(0)
    }
}

/// Each item into the first bin that has room for it.
fn first_fit(problem: &Problem, order: &[usize], items: Vec<u32>) -> Packed {
    let mut free: Vec<Vec<u64>> = Vec::new();
    let mut packed = Packed::default();
    // Where one of this size did not fit before, it does not fit now.
    let mut before: &[u64] = &[];
    let mut from = 0;
    for item in items {
        let size = problem.items()[item as usize].as_slice();
        if size != before {
            (before, from) = (size, 0);
        }
        let mut place = (from..free.len()).find(|&bin| fits(size, &free[bin]));
        while place.is_none() && free.len() < order.len() {
            let bin = order[free.len()];
            free.push(problem.capacity(bin).to_vec());
            packed.bins.push(filled(bin));
            place = free
                .len()
                .checked_sub(1)
                .filter(|&last| fits(size, &free[last]));
        }
        from = place.unwrap_or(free.len());
        if let Some(place) = place {
            take(&mut free[place], size);
            packed.bins[place].items.push(item);
        } else {
            packed.unplaced.push(item);
        }
    }
    packed.bins.retain(|bin| !bin.items.is_empty());
    packed
}

/// Items of one size.
struct Kind<'a> {
    size: &'a [u64],
    /// Those not packed yet, the first one last.
    items: Vec<u32>,
}

/// In the order of their first items.
fn kinds_of<'a>(problem: &'a Problem, items: &[u32]) -> Vec<Kind<'a>> {
    let mut by_size: BTreeMap<&[u64], Vec<u32>> = BTreeMap::new();
    for &item in items.iter().rev() {
        let size = problem.items()[item as usize].as_slice();
        by_size.entry(size).or_default().push(item);
    }
    let kinds = by_size.into_iter();
    let mut kinds: Vec<Kind<'a>> = kinds.map(|(size, items)| Kind { size, items }).collect();
    kinds.sort_by_key(|kind| kind.items.last().copied());
    kinds
}

/// Bin after bin, each with the item that goes best along with what is free in it.
fn bin_centric(problem: &Problem, order: &[usize], mut kinds: Vec<Kind<'_>>) -> Packed {
    let mut packed = Packed::default();
    let mut demand = Demand::of(problem, &kinds);
    for &bin in order {
        if kinds.is_empty() {
            break;
        }
        let mut free = problem.capacity(bin).to_vec();
        let mut bin = filled(bin);
        while let Some(best) = demand.most_along(&free, &kinds) {
            let kind = &mut kinds[best];
            take(&mut free, kind.size);
            demand.remove(kind.size);
            bin.items.extend(kind.items.pop());
            if kind.items.is_empty() {
                kinds.remove(best);
            }
        }
        if !bin.items.is_empty() {
            packed.bins.push(bin);
        }
    }
    packed.unplaced = kinds.into_iter().flat_map(|kind| kind.items).collect();
    packed.unplaced.sort_unstable();
    packed
}

/// What the items left ask in all, per dimension in largest bins.
struct Demand {
    scale: Vec<f64>,
    left: Vec<f64>,
}

impl Demand {
    fn of(problem: &Problem, kinds: &[Kind<'_>]) -> Self {
        let scale: Vec<f64> = problem.scale().iter().map(|&side| side as f64).collect();
        let mut left = vec![0.0; scale.len()];
        for kind in kinds {
            for (dim, left) in left.iter_mut().enumerate() {
                *left += kind.items.len() as f64 * kind.size[dim] as f64 / scale[dim];
            }
        }
        Self { scale, left }
    }

    fn remove(&mut self, size: &[u64]) {
        for (dim, left) in self.left.iter_mut().enumerate() {
            *left -= size[dim] as f64 / self.scale[dim];
        }
    }

    /// The kind that fits and has the largest dot product with what is free; the first on ties.
    fn most_along(&self, free: &[u64], kinds: &[Kind<'_>]) -> Option<usize> {
        let mut best = None;
        let toward: Vec<f64> = (0..free.len())
            .map(|dim| self.left[dim] * free[dim] as f64 / (self.scale[dim] * self.scale[dim]))
            .collect();
        for (index, kind) in kinds.iter().enumerate() {
            if !fits(kind.size, free) {
                continue;
            }
            let product: f64 = kind
                .size
                .iter()
                .zip(&toward)
                .map(|(size, toward)| *size as f64 * toward)
                .sum();
            if best.is_none_or(|(most, _)| product > most) {
                best = Some((product, index));
            }
        }
        best.map(|(_, index)| index)
    }
}

const fn filled(bin: usize) -> Filled {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bins are counted when a problem is made"
    )]
    let bin = bin as u32;
    Filled {
        bin,
        items: Vec::new(),
    }
}

fn take(free: &mut [u64], size: &[u64]) {
    for (free, size) in free.iter_mut().zip(size) {
        *free -= size;
    }
}
