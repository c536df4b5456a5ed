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
        resources.mem_milli,
        resources.disk_milli,
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
        if more.has_parts() {
            more.parts().for_each(|(_, part)| self.add_plain(part));
        }
    }

    /// What was added before, special parts too.
    pub(crate) fn remove(&mut self, less: &Resources) {
        self.remove_plain(less);
        if less.has_parts() {
            less.parts().for_each(|(_, part)| self.remove_plain(part));
        }
    }

    /// Without special parts.
    #[inline]
    pub(crate) fn add_plain(&mut self, more: &Resources) {
        for (sum, part) in self.main.iter_mut().zip(scalars(more)) {
            *sum += u128::from(part);
        }
        if more.has_others() {
            self.add_others(more);
        }
    }

    #[cold]
    fn add_others(&mut self, more: &Resources) {
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
    #[inline]
    pub(crate) fn remove_plain(&mut self, less: &Resources) {
        for (sum, part) in self.main.iter_mut().zip(scalars(less)) {
            debug_assert!(*sum >= u128::from(part), "{less} was never added");
            *sum = sum.saturating_sub(u128::from(part));
        }
        if less.has_others() {
            self.remove_others(less);
        }
    }

    #[cold]
    fn remove_others(&mut self, less: &Resources) {
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
        let mut share = 0.0_f64;
        for (used, all) in self.numbers().into_iter().zip(whole.main) {
            let part = used / all;
            share = if part > share { part } else { share };
        }
        for (name, used) in &self.other {
            let all = whole.other.get(name).copied().unwrap_or(NOTHING);
            share = share.max(number(*used) / all);
        }
        share
    }

    /// The main ones as the nearest doubles. What fits 63 bits (all but the sums of liars) takes the machine's own way, which
    /// gives the same in a tenth of the time.
    fn numbers(&self) -> [f64; 4] {
        let high = self.main.iter().fold(0, |high, sum| high | sum >> 63);
        if high == 0 {
            self.main.map(|sum| sum as i64 as f64)
        } else {
            self.main.map(number)
        }
    }

    /// As resources without ports; what 64 bits do not hold is cut there.
    pub(crate) fn to_resources(&self) -> Resources {
        let cut = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
        let mut resources = Resources::none();
        resources.cpus_milli = cut(self.main[0]);
        resources.mem_milli = cut(self.main[1]);
        resources.disk_milli = cut(self.main[2]);
        resources.gpus_milli = cut(self.main[3]);
        for (name, milli) in &self.other {
            resources.set_other(name, cut(*milli));
        }
        resources
    }
}

/// A sum as numbers to divide by, so that shares of many are computed against one whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    /// What there is nothing of is [`NOTHING`].
    main: [f64; 4],
    other: BTreeMap<Arc<str>, f64>,
}

/// What stands for a whole of which there is nothing: any part of it is no share.
const NOTHING: f64 = f64::INFINITY;

impl Default for Whole {
    fn default() -> Self {
        Self::from(&Sums::default())
    }
}

impl From<&Sums> for Whole {
    fn from(sums: &Sums) -> Self {
        let whole = |sum: u128| if sum == 0 { NOTHING } else { number(sum) };
        let other = sums.other.iter();
        Self {
            main: sums.main.map(whole),
            other: other
                .map(|(name, sum)| (Arc::clone(name), whole(*sum)))
                .collect(),
        }
    }
}

/// The nearest double.
#[cold]
#[inline(never)]
fn number(sum: u128) -> f64 {
    sum as f64
}
