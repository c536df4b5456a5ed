//! What policies need of the mix, worked out of the noted shapes.
//!
//! - [`Digest::value`]: what so much of one device is worth, in millionths of a whole one, by what typical
//!   tasks can make of it, see `stock`; as long as few are known, simple parts of a device are supposed to be typical;
//! - [`Digest::served`]: the worth that CPUs, memory and disk are enough for, when each unit of worth
//!   takes along what the tasks with GPUs take on average;
//! - [`Digest::price`]: how sought after a kind of machine is. Each shape spreads its demand evenly over
//!   all GPUs it may use; a GPU's price is the demand it gets, relative to the average;
//! - [`Digest::typical`]: the commonest shapes, for FGD.

use std::collections::BTreeMap;

use mete_model::MB_MILLI;
use mete_model::resources::devices::WHOLE_DEVICE;

use super::amounts::Gpus;
use super::mix::{GROUPS, Groups, Shape, index};
use super::stock;

/// The price of an average GPU.
pub(super) const PAR: u64 = 1_024;
/// No kind of machine counts as more than so many times as dear.
const DEAREST: u64 = 64 * PAR;
/// Fraction bits of what a unit of CPU, memory or disk serves.
const RATE_BITS: u32 = 20;
/// Typical are the commonest shapes that together are so many hundredths of all tasks, as in FGD.
const COVERED_PERCENT: u64 = 95;
/// What tasks are supposed to take before they are known: a whole device, or so much that two, three or four fit
/// into one, the classes by which harmonic packing works without knowing the sizes (Lee and Lee 1985). In
/// hundredths of a device, as parts mostly are: the work on prices grows with the steps that sizes need.
const SUPPOSED: [u16; 4] = [WHOLE_DEVICE, 500, 330, 250];
/// As if so many tasks had asked for each. Few have been seen when parts are first cut, and what they do not fit into
/// must not pass for worthless. More of them help where simple parts are common and harm where they are not:
/// with 16, mixes of the published sizes pack by 0.01 points better, and the same sizes times 0.8 by 0.05 worse.
const SUPPOSED_TASKS: u64 = 4;

/// See the head of this file. The default knows of no task with GPUs: then nothing is worth more than
/// its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// By thousandths free of a device; empty: in proportion.
    values: Vec<u32>,
    /// Worth served by a thousandth of a CPU, by a MiB of memory and by one of disk, with [`RATE_BITS`];
    /// `None` when no task with GPUs takes any.
    rates: [Option<u64>; 3],
    /// By kind of machine; empty: all cost [`PAR`].
    prices: Vec<u64>,
    typical: Typical,
}

/// The commonest shapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Typical {
    tasks: Vec<Task>,
    weight: i64,
}

/// A typical task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Task {
    pub(super) weight: i64,
    pub(super) gpus: Gpus,
    pub(super) cpus_milli: u64,
    pub(super) groups: Groups,
}

impl Digest {
    pub(super) fn of(shapes: &BTreeMap<Shape, u64>, supply: &[u64; GROUPS]) -> Self {
        let values = stock::values(&sizes(shapes));
        if values.is_empty() {
            return Self::default();
        }
        let digest = Self {
            values,
            rates: [None; 3],
            prices: Vec::new(),
            typical: Typical::of(shapes),
        };
        Self {
            rates: digest.rates(shapes),
            prices: digest.prices(shapes, supply),
            ..digest
        }
    }

    /// The worth of so much of one device.
    pub(super) fn value(&self, milli: u16) -> u64 {
        match self.values.get(usize::from(milli)) {
            Some(value) => u64::from(*value),
            None => u64::from(milli) * u64::from(stock::WHOLE) / u64::from(WHOLE_DEVICE),
        }
    }

    /// The most worth that so much CPU, memory and disk is enough for.
    pub(super) fn served(&self, cpus_milli: u64, mem_milli: u64, disk_milli: u64) -> u64 {
        let amounts = [cpus_milli, mem_milli / MB_MILLI, disk_milli / MB_MILLI];
        let served =
            self.rates.iter().zip(amounts).filter_map(|(rate, amount)| {
                rate.map(|rate| amount.saturating_mul(rate) >> RATE_BITS)
            });
        served.min().unwrap_or(u64::MAX)
    }

    /// How sought after machines of a kind are; [`PAR`] is the average.
    pub(super) fn price(&self, group: u16) -> u64 {
        self.prices.get(index(group)).copied().unwrap_or(PAR)
    }

    /// Whether some tasks may not run on every kind of machine.
    pub(super) fn is_choosy(&self) -> bool {
        !self.prices.is_empty()
    }

    pub(super) const fn typical(&self) -> &Typical {
        &self.typical
    }

    /// What a task's GPUs are worth.
    fn worth(&self, gpus: Gpus) -> u128 {
        match gpus {
            Gpus::None => 0,
            Gpus::Part(milli) => u128::from(self.value(milli)),
            Gpus::Whole(count) => u128::from(count) * u128::from(self.value(WHOLE_DEVICE)),
        }
    }

    fn rates(&self, shapes: &BTreeMap<Shape, u64>) -> [Option<u64>; 3] {
        let (mut worth, mut taken) = (0_u128, [0_u128; 3]);
        for (shape, weight) in shapes {
            if shape.gpus == Gpus::None {
                continue;
            }
            let weight = u128::from(*weight);
            worth += weight * self.worth(shape.gpus);
            let amounts = [
                shape.cpus_milli,
                shape.mem_milli / MB_MILLI,
                shape.disk_milli / MB_MILLI,
            ];
            for (taken, amount) in taken.iter_mut().zip(amounts) {
                *taken += weight * u128::from(amount);
            }
        }
        taken.map(|taken| {
            let rate = (worth << RATE_BITS).checked_div(taken)?;
            Some(u64::try_from(rate).unwrap_or(u64::MAX))
        })
    }

    /// The demand that each GPU of a kind gets, relative to the average; none when all tasks may run anywhere.
    fn prices(&self, shapes: &BTreeMap<Shape, u64>, supply: &[u64; GROUPS]) -> Vec<u64> {
        let mut demands: BTreeMap<Groups, u128> = BTreeMap::new();
        for (shape, weight) in shapes {
            if shape.gpus != Gpus::None {
                *demands.entry(shape.groups).or_insert(0) +=
                    u128::from(*weight) * self.worth(shape.gpus);
            }
        }
        let all: u128 = supply.iter().map(|one| u128::from(*one)).sum();
        let total: u128 = demands.values().sum();
        if all == 0 || total == 0 || demands.keys().all(|groups| *groups == Groups::ANY) {
            return Vec::new();
        }
        let mut prices = [0_u128; GROUPS];
        for (groups, demand) in demands {
            let allowed = |group: &usize| groups.allow(*group as u16);
            let within: u128 = (0..GROUPS)
                .filter(allowed)
                .map(|group| u128::from(supply[group]))
                .sum();
            // Demand in whole devices of worth is at most 2^80 here and `all` at most 2^70 in theory, far
            // less in any cluster: shares of the total first, so that products stay in bounds.
            let share = demand.saturating_mul(1 << 32) / total;
            let Some(price) = (share.saturating_mul(all) / (1 << 22)).checked_div(within) else {
                continue;
            };
            for group in (0..GROUPS).filter(allowed) {
                prices[group] += price;
            }
        }
        let bounded =
            |price: u128| u64::try_from(price).map_or(DEAREST, |price| price.min(DEAREST));
        prices.map(bounded).to_vec()
    }
}

impl Typical {
    fn of(shapes: &BTreeMap<Shape, u64>) -> Self {
        let mut weights: BTreeMap<(Gpus, u64, Groups), u64> = BTreeMap::new();
        for (shape, weight) in shapes {
            *weights
                .entry((shape.gpus, shape.cpus_milli, shape.groups))
                .or_insert(0) += weight;
        }
        let all: u64 = weights.values().sum();
        let mut tasks: Vec<Task> = weights
            .into_iter()
            .map(|((gpus, cpus_milli, groups), weight)| Task {
                weight: weight as i64,
                gpus,
                cpus_milli,
                groups,
            })
            .collect();
        tasks.sort_unstable_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.cmp(b)));
        let mut covered = 0;
        tasks.retain(|task| {
            let is_needed = covered * 100 < all * COVERED_PERCENT;
            covered += task.weight as u64;
            is_needed
        });
        let weight = tasks.iter().map(|task| task.weight).sum();
        Self { tasks, weight }
    }

    pub(super) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The weights' sum.
    pub(super) const fn weight(&self) -> i64 {
        self.weight
    }
}

/// How often so many thousandths of a device are asked for, with what is supposed; empty when none are asked for.
fn sizes(shapes: &BTreeMap<Shape, u64>) -> BTreeMap<u16, u64> {
    let mut sizes = BTreeMap::new();
    for (shape, weight) in shapes {
        let (size, count) = match shape.gpus {
            Gpus::None => continue,
            Gpus::Part(milli) => (milli, 1),
            Gpus::Whole(count) => (WHOLE_DEVICE, count),
        };
        let sum: &mut u64 = sizes.entry(size).or_insert(0);
        *sum = sum.saturating_add(weight.saturating_mul(count));
    }
    if !sizes.is_empty() {
        for size in SUPPOSED {
            let sum = sizes.entry(size).or_insert(0);
            *sum = sum.saturating_add(SUPPOSED_TASKS);
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(gpus: Gpus, times: u64) -> Digest {
        let shape = Shape {
            gpus,
            cpus_milli: 1_000,
            mem_milli: MB_MILLI,
            disk_milli: 0,
            groups: Groups::ANY,
        };
        Digest::of(&BTreeMap::from([(shape, times)]), &[0; GROUPS])
    }

    #[test]
    fn simple_parts_of_a_device_have_worth_before_any_is_asked_for() {
        let digest = digest(Gpus::Whole(1), 1);

        let values = [249, 250, 500, 750].map(|milli| digest.value(milli));

        assert_eq!(values, [0, 250_000, 500_000, 750_000]);
    }

    #[test]
    fn what_is_asked_for_often_outweighs_what_is_supposed() {
        let digest = digest(Gpus::Part(810), 1_000);

        assert_eq!(digest.value(810), u64::from(stock::WHOLE));
        assert_eq!(digest.value(190), 0);
    }

    #[test]
    fn nothing_is_supposed_where_nobody_asks_for_gpus() {
        assert_eq!(digest(Gpus::None, 1_000), Digest::default());
    }
}
