//! Resources in whole, small units: enough to say that something cannot fit, never that it does.
//!
//! Comparing four such numbers takes one instruction on any machine; comparing resources takes many.

use mete_model::{MB_MILLI, Resources};

/// CPUs, memory, disk, GPUs, and whether there are further scalars.
pub(super) const KINDS: usize = 5;
const GPUS: usize = 3;
const OTHER: usize = 4;

/// What a node has, each kind rounded down: thousandths of CPUs and GPUs, mebibytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amounts(pub(super) [i32; KINDS]);

impl Amounts {
    /// What fits into `free` has amounts of at most these.
    pub(super) fn of(free: &Resources) -> Self {
        let free = free.flat();
        let mut amounts = Self::plain(free.cpus_milli, free.mem_milli, free.disk_milli);
        amounts.0[GPUS] = cut(free.gpus_milli);
        amounts.0[OTHER] = i32::from(free.others().next().is_some());
        amounts
    }

    /// Where there is neither a GPU nor any further scalar.
    pub(super) fn plain(cpus_milli: u64, mem_milli: u64, disk_milli: u64) -> Self {
        Self([
            cut(cpus_milli),
            cut(mem_milli / MB_MILLI),
            cut(disk_milli / MB_MILLI),
            0,
            0,
        ])
    }
}

/// What a node has to have: the kinds of which something is asked, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    kinds: [(usize, i32); KINDS],
    len: usize,
}

impl Needs {
    /// Of a task.
    pub(super) fn of(asked: &Resources) -> Self {
        let mut needs = Self {
            kinds: [(0, 0); KINDS],
            len: 0,
        };
        for (kind, least) in Amounts::of(asked).0.into_iter().enumerate() {
            if least > 0 {
                needs.kinds[needs.len] = (kind, least);
                needs.len += 1;
            }
        }
        // Who needs nothing still needs a node: one kind is always compared.
        needs.len = needs.len.max(1);
        needs
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, i32)> + '_ {
        self.kinds[..self.len].iter().copied()
    }
}

/// What passes the largest number counts as that: both sides of a comparison are cut alike.
fn cut(scalar: u64) -> i32 {
    i32::try_from(scalar).unwrap_or(i32::MAX)
}
