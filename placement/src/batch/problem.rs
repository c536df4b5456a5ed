//! What is to be packed: items and bins as vectors of one length, in the caller's units.
//!
//! Dimension by dimension two things are done that change no answer: sizes are divided by what they have in
//! common, and a bin is never larger than all items together. Real sizes become small numbers that way, and
//! small numbers are compared many at a time.

/// Why something cannot be packed at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSizes {
    /// An item has another number of dimensions than the first bin.
    #[error("item {item} has {found} dimensions, the bins have {wanted}")]
    Item {
        /// Its place in the list.
        item: usize,
        /// How many it has.
        found: usize,
        /// How many it should have.
        wanted: usize,
    },
    /// A bin has another number of dimensions than the first one.
    #[error("bin {bin} has {found} dimensions, the first bin has {wanted}")]
    Bin {
        /// Its place in the list.
        bin: usize,
        /// How many it has.
        found: usize,
        /// How many it should have.
        wanted: usize,
    },
    /// More than can be numbered.
    #[error("{0} items or bins; at most {max} can be packed at once", max = u32::MAX)]
    TooMany(usize),
}

/// What is there to put items into.
#[derive(Clone, Debug)]
pub(super) enum Bins {
    /// As many of this kind as are needed, which is never more than there are items.
    Alike(Vec<u64>),
    /// These and no others.
    Each(Vec<Vec<u64>>),
}

/// Items and bins; every vector is [`dims`](Self::dims) long.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    items: Vec<Vec<u64>>,
    bins: Bins,
    dims: usize,
}

impl Problem {
    pub(super) fn new(items: Vec<Vec<u64>>, bins: Bins) -> Result<Self, BadSizes> {
        let dims = match &bins {
            Bins::Alike(capacity) => capacity.len(),
            Bins::Each(bins) => bins.iter().chain(&items).next().map_or(0, Vec::len),
        };
        let problem = Self { items, bins, dims };
        problem.check()?;
        Ok(problem)
    }

    fn check(&self) -> Result<(), BadSizes> {
        for count in [self.items.len(), self.bin_count()] {
            if u32::try_from(count).is_err() {
                return Err(BadSizes::TooMany(count));
            }
        }
        let wanted = self.dims;
        let other = |vector: &Vec<u64>| vector.len() != wanted;
        if let Bins::Each(bins) = &self.bins
            && let Some(bin) = bins.iter().position(other)
        {
            let found = bins[bin].len();
            return Err(BadSizes::Bin { bin, found, wanted });
        }
        if let Some(item) = self.items.iter().position(other) {
            let found = self.items[item].len();
            return Err(BadSizes::Item {
                item,
                found,
                wanted,
            });
        }
        Ok(())
    }

    pub(super) const fn dims(&self) -> usize {
        self.dims
    }

    pub(super) fn items(&self) -> &[Vec<u64>] {
        &self.items
    }

    /// How many bins may be opened.
    pub(super) fn bin_count(&self) -> usize {
        match &self.bins {
            Bins::Alike(_) => self.items.len(),
            Bins::Each(bins) => bins.len(),
        }
    }

    pub(super) fn capacity(&self, bin: usize) -> &[u64] {
        match &self.bins {
            Bins::Alike(capacity) => capacity,
            Bins::Each(bins) => &bins[bin],
        }
    }

    /// Bins that differ; one when all are alike.
    fn kinds(&self) -> &[Vec<u64>] {
        match &self.bins {
            Bins::Alike(capacity) => std::slice::from_ref(capacity),
            Bins::Each(bins) => bins,
        }
    }

    /// Items that are larger than every bin.
    pub(super) fn too_big(&self) -> Vec<u32> {
        let homeless = |item: &Vec<u64>| !self.kinds().iter().any(|bin| fits(item, bin));
        let all = (0_u32..).zip(&self.items);
        all.filter(|(_, item)| homeless(item))
            .map(|(number, _)| number)
            .collect()
    }

    /// The same problem in the largest units that lose nothing, without the items in `left_out`, whose sizes
    /// become zero.
    pub(super) fn reduced(&self, left_out: &[u32]) -> Self {
        let mut reduced = self.clone();
        for &item in left_out {
            reduced.items[item as usize].fill(0);
        }
        for dim in 0..self.dims {
            reduced.reduce(dim);
        }
        reduced
    }

    fn reduce(&mut self, dim: usize) {
        let unit = self.items.iter().fold(0, |unit, item| gcd(unit, item[dim]));
        let unit = unit.max(1);
        let mut sum = 0_u64;
        for item in &mut self.items {
            item[dim] /= unit;
            sum = sum.saturating_add(item[dim]);
        }
        let shrink = |capacity: &mut Vec<u64>| capacity[dim] = (capacity[dim] / unit).min(sum);
        match &mut self.bins {
            Bins::Alike(capacity) => shrink(capacity),
            Bins::Each(bins) => bins.iter_mut().for_each(shrink),
        }
    }

    /// The largest capacity of any bin in each dimension; at least one, as it is divided by.
    pub(super) fn scale(&self) -> Vec<u64> {
        let largest = |dim: usize| self.kinds().iter().map(|bin| bin[dim]).max();
        (0..self.dims)
            .map(|dim| largest(dim).unwrap_or(0).max(1))
            .collect()
    }

    /// No packing of all items uses fewer bins: they would not have the sum of the sizes in some dimension,
    /// or two items of more than half the largest bin would share one. Without the items in `left_out`.
    pub(super) fn lower_bound(&self, left_out: &[u32]) -> usize {
        if self.items.len() == left_out.len() {
            return 0;
        }
        (0..self.dims)
            .map(|dim| self.bound_by(dim, left_out))
            .max()
            .unwrap_or(0)
            .max(1)
    }

    fn bound_by(&self, dim: usize, left_out: &[u32]) -> usize {
        let counted = (0_u32..).zip(&self.items);
        let sizes = counted
            .filter(|(number, _)| left_out.binary_search(number).is_err())
            .map(|(_, item)| item[dim]);
        let mut capacities: Vec<u64> = self.kinds().iter().map(|bin| bin[dim]).collect();
        capacities.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&largest) = capacities.first() else {
            return 0;
        };
        let over_half = sizes.clone().filter(|&size| size > largest / 2).count();
        let mut missing: u128 = sizes.map(u128::from).sum();
        let bins = match &self.bins {
            Bins::Alike(_) => missing.div_ceil(u128::from(largest.max(1))),
            Bins::Each(_) => {
                let needed = capacities.iter().take_while(|&&capacity| {
                    let needed = missing > 0;
                    missing = missing.saturating_sub(u128::from(capacity));
                    needed
                });
                needed.count() as u128
            }
        };
        over_half.max(usize::try_from(bins).unwrap_or(usize::MAX))
    }
}

/// Whether `item` is nowhere larger than `room`.
pub(super) fn fits(item: &[u64], room: &[u64]) -> bool {
    item.iter().zip(room).all(|(size, room)| size <= room)
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
