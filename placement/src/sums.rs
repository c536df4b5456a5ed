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
    /// All of it, special parts too.
    pub(crate) fn add(&mut self, more: &Resources) {
        self.add_plain(more);
        for (_, part) in more.parts() {
            self.add_plain(part);
        }
    }

    /// What was added before, special parts too.
    pub(crate) fn remove(&mut self, less: &Resources) {
        self.remove_plain(less);
        for (_, part) in less.parts() {
            self.remove_plain(part);
        }
    }

    /// Without special parts.
    pub(crate) fn add_plain(&mut self, more: &Resources) {
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

    /// Takes away another sum that is part of this.
    pub(crate) fn subtract(&mut self, less: &Self) {
        for (sum, part) in self.main.iter_mut().zip(less.main) {
            *sum = sum.saturating_sub(part);
        }
        for (name, part) in &less.other {
            if let Some(sum) = self.other.get_mut(name) {
                *sum = sum.saturating_sub(*part);
                if *sum == 0 {
                    self.other.remove(name);
                }
            }
        }
    }

    /// Takes away what was added before, without special parts.
    pub(crate) fn remove_plain(&mut self, less: &Resources) {
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

    /// The largest part of `whole` that this is: the dominant share of DRF. Scalars of which there is
    /// nothing in `whole` do not count.
    pub(crate) fn dominant_share(&self, whole: &Whole) -> f64 {
        let part = |used: u128, all: f64| {
            if used == 0 || all == 0.0 {
                0.0
            } else {
                number(used) / all
            }
        };
        let mut share = 0.0_f64;
        for (used, all) in self.main.iter().zip(&whole.main) {
            share = share.max(part(*used, *all));
        }
        for (name, used) in &self.other {
            let all = whole.other.get(name).copied().unwrap_or(0.0);
            share = share.max(part(*used, all));
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

/// A sum as numbers to divide by, so that shares of many are computed against one whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Whole {
    main: [f64; 4],
    other: BTreeMap<Arc<str>, f64>,
}

impl From<&Sums> for Whole {
    fn from(sums: &Sums) -> Self {
        Self {
            main: sums.main.map(number),
            other: sums
                .other
                .iter()
                .map(|(name, sum)| (Arc::clone(name), number(*sum)))
                .collect(),
        }
    }
}

/// The nearest double. What fits 63 bits (all but the sums of liars) takes the machine's own way, which
/// gives the same in a tenth of the time.
fn number(sum: u128) -> f64 {
    #[cold]
    #[inline(never)]
    fn huge(sum: u128) -> f64 {
        sum as f64
    }
    i64::try_from(sum).map_or_else(|_| huge(sum), |sum| sum as f64)
}
