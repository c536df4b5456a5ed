//! Sums over instances, by class and number of dimensions.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde_json::json;

use super::known::Known;

/// What came out for one instance and one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) bins: usize,
    pub(super) bound: usize,
    /// CPU time.
    pub(super) took: Duration,
}

/// Sums over instances and seeds.
#[derive(Clone, Debug, Default)]
struct Sums {
    packings: usize,
    bins: usize,
    bound: usize,
    best_of_351: usize,
    below_best: usize,
    above_best: usize,
    /// Packings whose optimum is proven.
    proven: usize,
    /// Those of them that need just as many bins.
    at_optimum: usize,
    took: Duration,
}

impl Sums {
    fn note(&mut self, known: &Known, outcome: &Outcome) {
        self.packings += 1;
        self.bins += outcome.bins;
        self.bound += outcome.bound;
        self.best_of_351 += known.best_of_351;
        self.below_best += usize::from(outcome.bins < known.best_of_351);
        self.above_best += usize::from(outcome.bins > known.best_of_351);
        self.proven += usize::from(known.optimum.is_some());
        self.at_optimum += usize::from(known.optimum == Some(outcome.bins));
        self.took += outcome.took;
    }
}

/// All that is printed.
#[derive(Debug)]
pub(super) struct Tally {
    seeds: u32,
    by_kind: BTreeMap<(String, u32), Sums>,
    all: Sums,
    bins_by_seed: Vec<usize>,
}

impl Tally {
    pub(super) fn new(seeds: u32) -> Self {
        Self {
            seeds,
            by_kind: BTreeMap::new(),
            all: Sums::default(),
            bins_by_seed: vec![0; seeds as usize],
        }
    }

    pub(super) fn note(&mut self, known: &Known, seed: u32, outcome: &Outcome) {
        let kind = (known.class.clone(), known.dims);
        self.by_kind.entry(kind).or_default().note(known, outcome);
        self.all.note(known, outcome);
        self.bins_by_seed[seed as usize] += outcome.bins;
    }

    /// The mean over the seeds, rounded to whole ones.
    fn mean(&self, sum: usize) -> usize {
        (sum as f64 / f64::from(self.seeds)).round() as usize
    }

    /// One object; sums are means over the seeds.
    pub(super) fn json(&self) -> serde_json::Value {
        let all = &self.all;
        json!({
            "bins": self.mean(all.bins),
            "instances": self.mean(all.packings),
            "lower_bound": self.mean(all.bound),
            "best_known_of_351": self.mean(all.best_of_351),
            "below_best": self.mean(all.below_best),
            "above_best": self.mean(all.above_best),
            "optimum_proven": self.mean(all.proven),
            "at_optimum": self.mean(all.at_optimum),
            "bins_by_seed": self.bins_by_seed,
            "seconds_per_instance": all.took.as_secs_f64() / all.packings.max(1) as f64,
        })
    }

    /// A row for each class and number of dimensions, and one for all.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header([
            "class",
            "d",
            "instances",
            "bins",
            "lower bound",
            "best of 351",
            "against it",
            "better",
            "worse",
            "optimal of proven",
            "s each",
        ]);
        for ((class, dims), sums) in &self.by_kind {
            table.add_row(self.row(class, &dims.to_string(), sums));
        }
        table.add_row(self.row("all", "", &self.all));
        table
    }

    fn row(&self, class: &str, dims: &str, sums: &Sums) -> Vec<String> {
        let against = sums.bins as f64 / sums.best_of_351.max(1) as f64 - 1.0;
        let (at_optimum, proven) = (self.mean(sums.at_optimum), self.mean(sums.proven));
        vec![
            class.to_owned(),
            dims.to_owned(),
            self.mean(sums.packings).to_string(),
            self.mean(sums.bins).to_string(),
            self.mean(sums.bound).to_string(),
            self.mean(sums.best_of_351).to_string(),
            format!("{:+.2} %", against * 100.0),
            self.mean(sums.below_best).to_string(),
            self.mean(sums.above_best).to_string(),
            format!("{at_optimum} of {proven}"),
            format!(
                "{:.2}",
                sums.took.as_secs_f64() / sums.packings.max(1) as f64
            ),
        ]
    }
}
