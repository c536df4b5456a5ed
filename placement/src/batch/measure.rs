//! One number for how large an item is: its share of a bin, dimensions weighed by how contended they are.

use super::problem::Problem;

/// A whole bin: sizes are in millionths of one.
const WHOLE: f64 = 1e6;

/// Average cost of putting an item out again, before penalties: fine enough to tell a tenth of it apart.
const AVERAGE_COST: f64 = 1_000.0;

/// Sizes of all items of a problem.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    weights: Vec<f64>,
    /// By item, in millionths of the largest bin.
    pub(super) sizes: Vec<i64>,
}

impl Measure {
    /// Weights are what all items ask of a dimension in largest bins, summing to one.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most a million for what fits a bin"
    )]
    pub(super) fn new(problem: &Problem) -> Self {
        let scale = problem.scale();
        let mut weights = vec![0.0; problem.dims()];
        for item in problem.items() {
            for (dim, weight) in weights.iter_mut().enumerate() {
                *weight += item[dim] as f64 / scale[dim] as f64;
            }
        }
        let sum: f64 = weights.iter().sum();
        for (weight, scale) in weights.iter_mut().zip(&scale) {
            *weight = if sum > 0.0 {
                *weight / sum / *scale as f64
            } else {
                0.0
            };
        }
        let mut measure = Self {
            weights,
            sizes: Vec::new(),
        };
        measure.sizes = problem
            .items()
            .iter()
            .map(|item| (measure.share(item) * WHOLE) as i64)
            .collect();
        measure
    }

    /// How much of a largest bin `vector` is, 0 to 1.
    pub(super) fn share(&self, vector: &[u64]) -> f64 {
        let both = self.weights.iter().zip(vector);
        both.map(|(weight, size)| weight * *size as f64).sum()
    }

    /// The share in millionths.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most a million for a bin"
    )]
    pub(super) fn size(&self, vector: &[u64]) -> i64 {
        (self.share(vector) * WHOLE) as i64
    }

    /// What it costs to put each item out again: the square of its size, 1000 on average-sized ones. Squared,
    /// because two halves find new places more easily than one whole.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and small: squares of sizes over their average"
    )]
    pub(super) fn costs(&self) -> Vec<u64> {
        let count = self.sizes.iter().filter(|size| **size > 0).count();
        let average = self.sizes.iter().sum::<i64>() as f64 / count.max(1) as f64;
        let cost = |size: &i64| {
            let relative = *size as f64 / average.max(1.0);
            (relative * relative * AVERAGE_COST).clamp(1.0, 1e9) as u64
        };
        self.sizes.iter().map(cost).collect()
    }
}
