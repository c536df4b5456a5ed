//! Scalars summed over many agents or tasks: exact, whatever each of them claims to have.
//!
//! A cluster's sum may pass what 64 bits hold when an agent lies about its size; saturating there
//! would make what is taken away differ from what was added.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Resources;

/// The scalars that every agent has, in the order they are compared.
pub(crate) const fn scalars(resources: &Resources) -> [u64; 4] {
    [
        resources.cpus_milli,
        resources.mem_bytes,
        resources.disk_bytes,
        resources.gpus_milli,
    ]
}

/// A sum of scalars; ports do not count. No entry of `other` is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) main: [u128; 4],
    pub(crate) other: BTreeMap<Arc<str>, u128>,
}

impl Sums {
    pub(crate) fn add(&mut self, more: &Resources) {
        for (sum, part) in self.main.iter_mut().zip(scalars(more)) {
            *sum += u128::from(part);
        }
        for (name, milli) in more.others() {
            match self.other.get_mut(name) {
                Some(sum) => *sum += u128::from(milli),
                None => {
                    self.other.insert(Arc::from(name), u128::from(milli));
                }
            }
        }
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, more: &Self) {
        for (sum, part) in self.main.iter_mut().zip(more.main) {
            *sum += part;
        }
        for (name, part) in &more.other {
            *self.other.entry(Arc::clone(name)).or_insert(0) += part;
        }
    }

    /// Takes away what was added before.
    pub(crate) fn remove(&mut self, less: &Resources) {
        for (sum, part) in self.main.iter_mut().zip(scalars(less)) {
            debug_assert!(*sum >= u128::from(part), "{less} was never added");
            *sum = sum.saturating_sub(u128::from(part));
        }
        for (name, milli) in less.others() {
            let Some(sum) = self.other.get_mut(name) else {
                continue;
            };
            *sum = sum.saturating_sub(u128::from(milli));
            if *sum == 0 {
                self.other.remove(name);
            }
        }
    }

    pub(crate) fn other(&self, name: &str) -> u128 {
        self.other.get(name).copied().unwrap_or(0)
    }

    /// The largest part of `total` that this is: the dominant share of DRF. Scalars of which there is
    /// nothing in `total` do not count.
    pub(crate) fn dominant_share(&self, total: &Self) -> f64 {
        let part = |used: u128, all: u128| {
            if all == 0 || used == 0 {
                0.0
            } else {
                used as f64 / all as f64
            }
        };
        let mut share = 0.0_f64;
        for (used, all) in self.main.iter().zip(&total.main) {
            share = share.max(part(*used, *all));
        }
        for (name, used) in &self.other {
            share = share.max(part(*used, total.other(name)));
        }
        share
    }

    /// As resources without ports; what 64 bits do not hold is cut there.
    pub(crate) fn to_resources(&self) -> Resources {
        let cut = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
        let mut resources = Resources::none();
        resources.cpus_milli = cut(self.main[0]);
        resources.mem_bytes = cut(self.main[1]);
        resources.disk_bytes = cut(self.main[2]);
        resources.gpus_milli = cut(self.main[3]);
        for (name, milli) in &self.other {
            resources.set_other(name, cut(*milli));
        }
        resources
    }
}
