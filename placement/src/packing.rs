//! Where something fits best: scores with a total order, lower is better, used by both levels.
//!
//! A score says nothing of names: whoever compares adds the id last, so that equal places are taken
//! in the same order in every run.

use mete_model::Resources;

use crate::sums::scalars;

/// How good a place is; the lower the better. Fields in order of weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score {
    /// Thousandths of GPUs that would stand idle beside it: machines with GPUs are filled last by
    /// those who need none.
    pub idle_gpus_milli: u64,
    /// What would be left (best fit) or would be used (spread), in millionths of a machine, summed
    /// over the kinds of resources.
    pub waste: u64,
}

/// A way to choose among places.
pub trait Packing {
    /// How good it is to put `asked` where `free` is; `scale` is a whole machine (or the largest one
    /// around), by which the kinds of resources are made comparable.
    fn score(&self, asked: &Resources, free: &Resources, scale: &Resources) -> Score;
}

/// The tightest place first: most used agents fill up, so that empty machines stay whole.
#[derive(Clone, Copy, Debug)]
pub struct BestFit;

/// The emptiest place first.
#[derive(Clone, Copy, Debug)]
pub struct Spread;

/// All places are equal: the first by id.
#[derive(Clone, Copy, Debug)]
pub struct FirstFit;

impl Packing for BestFit {
    fn score(&self, asked: &Resources, free: &Resources, scale: &Resources) -> Score {
        Score {
            idle_gpus_milli: idle_gpus(asked, free),
            waste: left(asked, free, scale),
        }
    }
}

impl Packing for Spread {
    fn score(&self, asked: &Resources, free: &Resources, scale: &Resources) -> Score {
        Score {
            idle_gpus_milli: idle_gpus(asked, free),
            waste: MOST_LEFT.saturating_sub(left(asked, free, scale)),
        }
    }
}

impl Packing for FirstFit {
    fn score(&self, _asked: &Resources, _free: &Resources, _scale: &Resources) -> Score {
        Score::default()
    }
}

/// Which way to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// [`BestFit`].
    #[default]
    BestFit,
    /// [`Spread`].
    Spread,
    /// [`FirstFit`].
    FirstFit,
}

impl Packing for Policy {
    fn score(&self, asked: &Resources, free: &Resources, scale: &Resources) -> Score {
        match self {
            Self::BestFit => BestFit.score(asked, free, scale),
            Self::Spread => Spread.score(asked, free, scale),
            Self::FirstFit => FirstFit.score(asked, free, scale),
        }
    }
}

/// One whole machine in one kind of resource.
const WHOLE: f64 = 1e6;
/// All four kinds wholly free.
const MOST_LEFT: u64 = 4_000_000;

const fn idle_gpus(asked: &Resources, free: &Resources) -> u64 {
    if asked.gpus_milli == 0 {
        free.gpus_milli
    } else {
        free.gpus_milli.saturating_sub(asked.gpus_milli)
    }
}

/// The L1 norm of what is left, each kind as a part of `scale`.
fn left(asked: &Resources, free: &Resources, scale: &Resources) -> u64 {
    let mut sum = 0;
    for ((asked, free), whole) in scalars(asked)
        .into_iter()
        .zip(scalars(free))
        .zip(scalars(scale))
    {
        if whole > 0 {
            let part = free.saturating_sub(asked) as f64 / whole as f64;
            sum += (part.min(1.0) * WHOLE) as u64;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: u64, gpus: u64) -> Resources {
        let mut all = Resources::cpus_mem(cpus * 1_000, cpus * 1_024);
        all.gpus_milli = gpus * 1_000;
        all
    }

    #[test]
    fn best_fit_takes_the_tightest_and_spread_the_emptiest() {
        let (task, tight, empty) = (machine(1, 0), machine(2, 0), machine(8, 0));

        let best = |free| BestFit.score(&task, free, &empty);
        let spread = |free| Spread.score(&task, free, &empty);

        assert!(best(&tight) < best(&empty));
        assert!(spread(&empty) < spread(&tight));
    }

    #[test]
    fn who_needs_no_gpu_goes_where_none_is() {
        let (plain, with_gpus) = (machine(8, 0), machine(2, 4));

        let score = |free| Policy::BestFit.score(&machine(1, 0), free, &machine(8, 4));

        assert!(score(&plain) < score(&with_gpus));
    }
}
