//! What the rest of a device is worth: the shadow prices of cutting stock.
//!
//! Cutting many devices into the parts that are typically asked for, with as few devices as can be, is a
//! linear program; its dual prices say how much of a device each part really costs. When 810 thousandths are often
//! asked for and nothing fits beside them, a part of 810 costs a whole device and the 190 that are left
//! are worth nothing; parts of 470 go two to a device and cost half of one. The worth of what is left of a
//! device is that of the dearest parts that fit into it. So a part is best cut where the worth of the device
//! falls by no more than the part costs (Gilmore and Gomory 1961; the same prices steer
//! online bin packing close to the optimum).
//!
//! Floating point serves only here, with the four operations that give the same bits on every machine.

use std::collections::BTreeMap;

use mete_model::resources::devices::WHOLE_DEVICE;

/// The worth of a whole device.
pub(super) const WHOLE: u32 = 1_000_000;
/// Most sizes that are told apart, the commonest ones: bounds the work. Published traces have 20.
const MAX_SIZES: usize = 32;
/// Most exchanges of a pattern. Traces take 40; whatever is reached by then is a valid price, if not the best.
const MAX_STEPS: usize = 400;
/// A pattern is better when it is worth so much more than a device.
const GAIN: f64 = 1e-7;
/// What counts as nothing.
const TINY: f64 = 1e-9;

/// The worth of each number of free thousandths from none to all, in [`WHOLE`]ths of a device, when parts are
/// asked for as often as `sizes` says. Empty when none are.
pub(super) fn values(sizes: &BTreeMap<u16, u64>) -> Vec<u32> {
    let sizes = commonest(sizes);
    if sizes.is_empty() {
        return Vec::new();
    }
    let mut cuts = Cuts::new(&sizes);
    for _ in 0..MAX_STEPS {
        let (worth, pattern) = cuts.best_pattern();
        if worth <= 1.0 + GAIN || !cuts.exchange(&pattern) {
            break;
        }
    }
    cuts.values()
}

/// The sizes with the largest weights, and their parts of all.
fn commonest(sizes: &BTreeMap<u16, u64>) -> Vec<(usize, f64)> {
    let mut sizes: Vec<(u16, u64)> = sizes
        .iter()
        .map(|(size, weight)| (*size, *weight))
        .filter(|(size, weight)| (1..=WHOLE_DEVICE).contains(size) && *weight > 0)
        .collect();
    sizes.sort_unstable_by_key(|(size, weight)| (std::cmp::Reverse(*weight), *size));
    sizes.truncate(MAX_SIZES);
    sizes.sort_unstable();
    let all: f64 = sizes.iter().map(|(_, weight)| *weight as f64).sum();
    sizes
        .into_iter()
        .map(|(size, weight)| (usize::from(size), weight as f64 / all))
        .collect()
}

/// The linear program in the revised simplex method: one row for each size, one basic pattern for each row.
struct Cuts {
    /// Thousandths in a step of sizes: all of them and the device are multiples of it.
    unit: usize,
    /// In units.
    device: usize,
    /// In units.
    sizes: Vec<usize>,
    /// How many devices are cut by each basic pattern.
    devices: Vec<f64>,
    /// The inverse of the basis, by rows.
    inverse: Vec<Vec<f64>>,
}

impl Cuts {
    /// At first each size has devices of its own.
    fn new(sizes: &[(usize, f64)]) -> Self {
        let whole = usize::from(WHOLE_DEVICE);
        let unit = sizes.iter().fold(whole, |unit, (size, _)| gcd(unit, *size));
        let per_device = |size: usize| (whole / size) as f64;
        let row = |at: usize, size: usize| {
            let mut row = vec![0.0; sizes.len()];
            row[at] = 1.0 / per_device(size);
            row
        };
        Self {
            unit,
            device: whole / unit,
            sizes: sizes.iter().map(|(size, _)| size / unit).collect(),
            devices: sizes
                .iter()
                .enumerate()
                // A little more of each than of the one before: no two rows leave at once, so that the
                // method cannot run in circles.
                .map(|(at, (size, share))| share * (1.0 + 1e-7 * at as f64) / per_device(*size))
                .collect(),
            inverse: sizes
                .iter()
                .enumerate()
                .map(|(at, (size, _))| row(at, *size))
                .collect(),
        }
    }

    /// What each size costs now: the sums of the inverse's columns.
    fn costs(&self) -> Vec<f64> {
        let mut costs = vec![0.0; self.sizes.len()];
        for row in &self.inverse {
            for (cost, part) in costs.iter_mut().zip(row) {
                *cost += part;
            }
        }
        for cost in &mut costs {
            *cost = cost.max(0.0);
        }
        costs
    }

    /// The pattern that is worth most, and its worth.
    fn best_pattern(&self) -> (f64, Vec<f64>) {
        let (worth, last) = self.fill(&self.costs());
        let mut pattern = vec![0.0; self.sizes.len()];
        let mut left = self.device;
        while left > 0 {
            match last[left] {
                Some(at) => {
                    pattern[at] += 1.0;
                    left -= self.sizes[at];
                }
                None => left -= 1,
            }
        }
        (worth[self.device], pattern)
    }

    /// For each number of units the most that fits into it is worth, and the size that was put in last; `None` when
    /// one unit is left unused.
    fn fill(&self, costs: &[f64]) -> (Vec<f64>, Vec<Option<usize>>) {
        let mut worth = vec![0.0; self.device + 1];
        let mut last = vec![None; self.device + 1];
        for units in 1..=self.device {
            let mut best = worth[units - 1];
            for (at, size) in self.sizes.iter().enumerate() {
                if *size > units {
                    break;
                }
                let with = worth[units - size] + costs[at];
                if with > best + 1e-12 {
                    best = with;
                    last[units] = Some(at);
                }
            }
            worth[units] = best;
        }
        (worth, last)
    }

    /// Takes a pattern into the basis. False when it replaces none.
    fn exchange(&mut self, pattern: &[f64]) -> bool {
        let change: Vec<f64> = self
            .inverse
            .iter()
            .map(|row| row.iter().zip(pattern).map(|(a, b)| a * b).sum())
            .collect();
        let mut leaving = None;
        for (row, change) in change.iter().enumerate() {
            let least = leaving.map_or(f64::INFINITY, |(_, least)| least);
            if *change > TINY && self.devices[row] / change < least {
                leaving = Some((row, self.devices[row] / change));
            }
        }
        let Some((leaving, devices)) = leaving else {
            return false;
        };
        let pivot: Vec<f64> = self.inverse[leaving]
            .iter()
            .map(|value| value / change[leaving])
            .collect();
        for (row, change) in change.iter().enumerate() {
            if row != leaving && *change != 0.0 {
                self.devices[row] -= devices * change;
                for (value, pivot) in self.inverse[row].iter_mut().zip(&pivot) {
                    *value -= change * pivot;
                }
            }
        }
        self.devices[leaving] = devices;
        self.inverse[leaving] = pivot;
        true
    }

    fn values(&self) -> Vec<u32> {
        let (worth, _) = self.fill(&self.costs());
        let whole = worth[self.device];
        (0..=usize::from(WHOLE_DEVICE))
            .map(|milli| (worth[milli / self.unit] / whole * f64::from(WHOLE) + 0.5) as u32)
            .collect()
    }
}

const fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values_of(sizes: &[(u16, u64)]) -> Vec<u32> {
        values(&sizes.iter().copied().collect())
    }

    #[test]
    fn a_rest_that_nothing_fits_into_is_worth_nothing() {
        let values = values_of(&[(810, 10), (1_000, 30)]);

        assert_eq!(values[190], 0);
        assert_eq!(values[809], 0);
        assert_eq!(values[810], WHOLE);
        assert_eq!(values[1_000], WHOLE);
    }

    #[test]
    fn parts_that_go_together_share_the_price_of_a_device() {
        let values = values_of(&[(470, 10), (650, 5), (320, 5)]);

        assert_eq!(values[470], WHOLE / 2);
        assert_eq!(values[530], WHOLE / 2);
        assert_eq!(values[650] + values[320], WHOLE);
    }

    #[test]
    fn what_is_asked_for_seldom_beside_something_common_costs_nothing() {
        // There is far more room beside the large ones than small ones to fill it.
        let values = values_of(&[(800, 100), (200, 1)]);

        assert_eq!(values[200], 0);
        assert_eq!(values[800], WHOLE);
    }

    #[test]
    fn nothing_asked_for_gives_no_prices() {
        assert!(values_of(&[]).is_empty());
        assert!(values_of(&[(5, 0), (2_000, 7)]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn worth_grows_with_what_is_free_and_never_by_cutting(
            sizes in proptest::collection::btree_map(1..=1_000_u16, 1..1_000_u64, 1..40),
            a in 0..=1_000_usize,
            b in 0..=1_000_usize,
        ) {
            let values = values(&sizes);

            prop_assert_eq!(values.len(), 1_001);
            prop_assert_eq!((values[0], values[1_000]), (0, WHOLE));
            prop_assert!(values.is_sorted());
            if a + b <= 1_000 {
                // One for rounding.
                prop_assert!(values[a] + values[b] <= values[a + b] + 1);
            }
        }
    }
}
