//! Nodes in order of a number, so kept that the first one with enough is found fast.
//!
//! A sorted list cut into buckets of at most [`CAPACITY`] nodes. Of each bucket the most there is of
//! each kind of resource is known, so that buckets in which nothing can fit are passed by, many at
//! once; within a bucket the nodes lie in columns and are compared many at once, too. A change moves one
//! node within or between two buckets and touches no other.

mod bucket; // up to 64 nodes in columns

use bucket::{Bucket, CAPACITY};

use super::amounts::{Amounts, KINDS, Needs};

/// How full buckets are after all were built anew, so that the next changes find room.
const FILL: usize = CAPACITY * 3 / 4;
/// Two neighbours with no more nodes than this become one, so that buckets do not stay behind nearly
/// empty; far enough below [`CAPACITY`] that the next change does not cut them again.
const SPARSE: usize = CAPACITY / 2;
/// How many buckets are looked at in one step: four registers of four.
const STEP: usize = 16;
/// The key of a node that is not here.
const ABSENT: u64 = u64::MAX;

/// Nodes in order of (key, number).
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// The key of each node, by its number.
    keys: Vec<u64>,
    /// Never an empty one.
    #[expect(
        clippy::vec_box,
        reason = "to insert a bucket moves pointers, not two kilobytes each"
    )]
    buckets: Vec<Box<Bucket>>,
    /// The first node of each bucket.
    firsts: Vec<(u64, u32)>,
    /// The most there is in each bucket, by kind.
    most: [Vec<i32>; KINDS],
}

impl Order {
    /// All nodes anew, at the price of a sort. Keys are below `u64::MAX`.
    pub(super) fn build(mut nodes: Vec<(u64, u32)>, amounts: impl Fn(u32) -> Amounts) -> Self {
        nodes.sort_unstable();
        let mut order = Self::default();
        for nodes in nodes.chunks(FILL) {
            let mut bucket = Box::<Bucket>::default();
            for (at, (key, node)) in nodes.iter().enumerate() {
                bucket.insert(at, *key, *node, amounts(*node));
                order.note(*node, *key);
            }
            order.add_bucket(order.buckets.len(), bucket);
        }
        order
    }

    /// Puts a node where its key belongs, wherever it was.
    pub(super) fn set(&mut self, node: u32, key: u64, amounts: Amounts) {
        debug_assert!(
            key < ABSENT,
            "the key of node {node} says that it is not there"
        );
        self.remove(node);
        self.note(node, key);
        let mut at = self.bucket_of(key, node);
        if self.buckets.is_empty() {
            self.add_bucket(0, Box::default());
        } else if self.buckets[at].len() == CAPACITY {
            let upper = self.buckets[at].split();
            self.summarize(at);
            self.add_bucket(at + 1, upper);
            at = self.bucket_of(key, node);
        }
        let bucket = &mut self.buckets[at];
        let place = bucket.place_of(key, node);
        bucket.insert(place, key, node, amounts);
        for (most, amount) in self.most.iter_mut().zip(amounts.0) {
            most[at] = most[at].max(amount);
        }
        self.firsts[at] = self.buckets[at].first();
    }

    /// Takes a node out, if it is there.
    pub(super) fn remove(&mut self, node: u32) {
        let Some(key) = self.keys.get_mut(node as usize) else {
            return;
        };
        let key = std::mem::replace(key, ABSENT);
        if key == ABSENT {
            return;
        }
        let at = self.bucket_of(key, node);
        let bucket = &mut self.buckets[at];
        let place = bucket.place_of(key, node);
        let amounts = bucket.remove(place);
        if bucket.len() == 0 {
            self.remove_bucket(at);
            return;
        }
        self.firsts[at] = bucket.first();
        for (kind, amount) in amounts.0.into_iter().enumerate() {
            if self.most[kind][at] == amount {
                self.most[kind][at] = self.buckets[at].most(kind);
            }
        }
        self.join_sparse(at);
    }

    /// The first node from `from` on and below `end` (both keys) that has what is needed and is
    /// `taken`; those without enough are never shown.
    pub(super) fn first(
        &self,
        needs: &Needs,
        (from, end): (u64, u64),
        mut taken: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut at = self.bucket_of(from, 0);
        while let Some(found) = self.next_bucket(at, needs) {
            if self.firsts[found].0 >= end {
                return None;
            }
            for (key, node) in self.buckets[found].with(needs) {
                if key >= end {
                    return None;
                }
                if key >= from && taken(node) {
                    return Some(node);
                }
            }
            at = found + 1;
        }
        None
    }

    /// All nodes in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.buckets.iter().flat_map(|bucket| bucket.nodes())
    }

    /// The first bucket from `from` on in which a node may have what is needed.
    fn next_bucket(&self, from: usize, needs: &Needs) -> Option<usize> {
        let mut at = from;
        while at + STEP <= self.buckets.len() {
            let mut fits = [-1_i32; STEP];
            for (kind, least) in needs.iter() {
                for (fits, most) in fits.iter_mut().zip(&self.most[kind][at..at + STEP]) {
                    *fits &= -i32::from(*most >= least);
                }
            }
            if fits.iter().fold(0, |any, fits| any | fits) != 0 {
                return fits
                    .iter()
                    .position(|fits| *fits != 0)
                    .map(|bucket| at + bucket);
            }
            at += STEP;
        }
        (at..self.buckets.len()).find(|bucket| {
            needs
                .iter()
                .all(|(kind, least)| self.most[kind][*bucket] >= least)
        })
    }

    /// The bucket that holds or would take this node; the first one when there is none.
    fn bucket_of(&self, key: u64, node: u32) -> usize {
        self.firsts
            .partition_point(|first| *first <= (key, node))
            .saturating_sub(1)
    }

    fn note(&mut self, node: u32, key: u64) {
        let node = node as usize;
        if self.keys.len() <= node {
            self.keys.resize(node + 1, ABSENT);
        }
        self.keys[node] = key;
    }

    fn add_bucket(&mut self, at: usize, bucket: Box<Bucket>) {
        self.firsts.insert(at, bucket.first());
        for most in &mut self.most {
            most.insert(at, 0);
        }
        self.buckets.insert(at, bucket);
        self.summarize(at);
    }

    fn remove_bucket(&mut self, at: usize) {
        self.buckets.remove(at);
        self.firsts.remove(at);
        for most in &mut self.most {
            most.remove(at);
        }
    }

    fn summarize(&mut self, at: usize) {
        self.firsts[at] = self.buckets[at].first();
        for (kind, most) in self.most.iter_mut().enumerate() {
            most[at] = self.buckets[at].most(kind);
        }
    }

    /// Joins a bucket with the one after it when both together are still sparse.
    fn join_sparse(&mut self, at: usize) {
        let Some(next) = self.buckets.get(at + 1) else {
            return;
        };
        if self.buckets[at].len() + next.len() > SPARSE {
            return;
        }
        let next = self.buckets[at + 1].clone();
        self.buckets[at].append(&next);
        self.remove_bucket(at + 1);
        self.summarize(at);
    }
}

#[cfg(test)]
mod tests;
