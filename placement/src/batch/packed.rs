//! Which item lies in which bin.

/// A bin that is used, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) bin: u32,
    pub(super) items: Vec<u32>,
}

/// Items in bins, and those that found no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) bins: Vec<Filled>,
    pub(super) unplaced: Vec<u32>,
}

impl Packed {
    /// What is better is smaller: first that items have a place, then that few bins are used.
    pub(super) const fn badness(&self) -> (usize, usize) {
        (self.unplaced.len(), self.bins.len())
    }
}
