//! Some neighbours of an order, in columns.

use crate::fleet::amounts::{Amounts, KINDS, Needs};

/// How many nodes a bucket holds: few enough that moving them by one place costs tens of nanoseconds,
/// many enough that the summaries of 100,000 nodes stay in the nearest cache.
pub(super) const CAPACITY: usize = 64;
/// What stands where no node is; nobody needs less.
const NOTHING: i32 = -1;

/// Nodes in order of (key, number).
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    len: usize,
    keys: [u64; CAPACITY],
    nodes: [u32; CAPACITY],
    /// By kind; [`NOTHING`] from `len` on.
    amounts: [[i32; CAPACITY]; KINDS],
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            len: 0,
            keys: [0; CAPACITY],
            nodes: [0; CAPACITY],
            amounts: [[NOTHING; CAPACITY]; KINDS],
        }
    }
}

impl Bucket {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The first key and node; of an empty bucket, zeros.
    pub(super) const fn first(&self) -> (u64, u32) {
        (self.keys[0], self.nodes[0])
    }

    /// Where the node is, or belongs.
    pub(super) fn place_of(&self, key: u64, node: u32) -> usize {
        let mut place = self.keys[..self.len].partition_point(|there| *there < key);
        while place < self.len && self.keys[place] == key && self.nodes[place] < node {
            place += 1;
        }
        place
    }

    /// Puts a node at `place`; there is room for it.
    pub(super) fn insert(&mut self, place: usize, key: u64, node: u32, amounts: Amounts) {
        let end = self.len;
        self.keys.copy_within(place..end, place + 1);
        self.keys[place] = key;
        self.nodes.copy_within(place..end, place + 1);
        self.nodes[place] = node;
        for (column, amount) in self.amounts.iter_mut().zip(amounts.0) {
            column.copy_within(place..end, place + 1);
            column[place] = amount;
        }
        self.len += 1;
    }

    /// Takes the node at `place` out; what it had.
    pub(super) fn remove(&mut self, place: usize) -> Amounts {
        let mut amounts = Amounts::default();
        self.len -= 1;
        let end = self.len;
        self.keys.copy_within(place + 1..=end, place);
        self.nodes.copy_within(place + 1..=end, place);
        for (column, amount) in self.amounts.iter_mut().zip(&mut amounts.0) {
            *amount = column[place];
            column.copy_within(place + 1..=end, place);
            column[end] = NOTHING;
        }
        amounts
    }

    /// The most that one node has of a kind.
    pub(super) fn most(&self, kind: usize) -> i32 {
        self.amounts[kind]
            .iter()
            .fold(NOTHING, |most, amount| most.max(*amount))
    }

    /// The keys and nodes that have what is needed, in order.
    pub(super) fn with(&self, needs: &Needs) -> impl Iterator<Item = (u64, u32)> + '_ {
        let mut fits = [-1_i32; CAPACITY];
        for (kind, least) in needs.iter() {
            for (fits, amount) in fits.iter_mut().zip(&self.amounts[kind]) {
                *fits &= -i32::from(*amount >= least);
            }
        }
        (0..self.len)
            .filter(move |place| fits[*place] != 0)
            .map(|place| (self.keys[place], self.nodes[place]))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.nodes[..self.len].iter().copied()
    }

    /// Cuts off the upper half.
    pub(super) fn split(&mut self) -> Box<Self> {
        let mut upper = Box::<Self>::default();
        let cut = self.len / 2;
        upper.len = self.len - cut;
        upper.keys[..self.len - cut].copy_from_slice(&self.keys[cut..self.len]);
        upper.nodes[..self.len - cut].copy_from_slice(&self.nodes[cut..self.len]);
        for (column, new) in self.amounts.iter_mut().zip(&mut upper.amounts) {
            new[..self.len - cut].copy_from_slice(&column[cut..self.len]);
            column[cut..].fill(NOTHING);
        }
        self.len = cut;
        upper
    }

    /// Adds the nodes of the bucket that comes next; there is room for them.
    pub(super) fn append(&mut self, next: &Self) {
        let (from, to) = (self.len, self.len + next.len);
        self.keys[from..to].copy_from_slice(&next.keys[..next.len]);
        self.nodes[from..to].copy_from_slice(&next.nodes[..next.len]);
        for (column, more) in self.amounts.iter_mut().zip(&next.amounts) {
            column[from..to].copy_from_slice(&more[..next.len]);
        }
        self.len = to;
    }
}
