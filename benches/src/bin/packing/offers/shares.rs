//! Whether everybody gets its share: dominant shares over time, beside what DRF entitles frameworks of several weights to.
//!
//! **Entitlement.** Progressive filling raises the dominant shares of all, each divided by its weight, together until
//! something that all need is used up. Each task of the trace needs CPUs, and CPUs are what runs out (`cpus_used_percent`),
//! so everybody is entitled to its weight's part of the sum of all shares, whatever its own dominant resource is.

use anyhow::Result;
use mete_model::Resources;
use mete_placement::Policy;
use mete_placement::packing::Groups;
use serde_json::{Value, json};

use super::backlog::{self, Held};
use crate::openb::rounded;
use crate::openb::trace::{Machine, Pod};

/// The fewest CPUs that a task of the trace takes; those without GPUs take 8 and more.
const ONE_CPU_MILLI: u64 = 1_000;

/// Frameworks that compete for the cluster.
pub(super) struct Contest {
    name: &'static str,
    /// Lives of tasks until what is measured hardly changes any more.
    pub(super) warm_up: u64,
    pub(super) rivals: [Rival; 4],
}

/// A framework of a contest.
#[derive(Clone, Copy)]
pub(super) struct Rival {
    pub(super) weight_milli: u32,
    tasks: Tasks,
}

/// What a framework waits for, without end.
#[derive(Clone, Copy)]
enum Tasks {
    /// All of the trace.
    All,
    /// Those with one GPU or more.
    WholeGpus,
    /// Those with less than a GPU.
    GpuParts,
    /// Those without GPUs.
    NoGpus,
    /// The same, and some that take one CPU, of which the trace has none.
    NoGpusAndSmall,
}

/// All want the same.
const ALIKE: Contest = Contest {
    name: "alike",
    warm_up: 2,
    rivals: [
        Rival::new(1_000, Tasks::All),
        Rival::new(1_000, Tasks::All),
        Rival::new(2_000, Tasks::All),
        Rival::new(4_000, Tasks::All),
    ],
};

/// Dominant resources differ: CPUs for the last, GPUs for the others.
const UNLIKE: Contest = Contest {
    name: "unlike",
    warm_up: 2,
    rivals: [
        Rival::new(1_000, Tasks::WholeGpus),
        Rival::new(1_000, Tasks::GpuParts),
        Rival::new(2_000, Tasks::All),
        Rival::new(4_000, Tasks::NoGpusAndSmall),
    ],
};

/// The same, but the last has nothing for which less than 8 CPUs are enough, while the others do: how far off shares are
/// because tasks cannot be divided. What is left between large tasks goes to the others and stays theirs, more of it from
/// life to life.
const COARSE: Contest = Contest {
    name: "coarse",
    warm_up: 12,
    rivals: [
        Rival::new(1_000, Tasks::WholeGpus),
        Rival::new(1_000, Tasks::GpuParts),
        Rival::new(2_000, Tasks::All),
        Rival::new(4_000, Tasks::NoGpus),
    ],
};

/// Each contest with what came of it.
pub(super) struct Shares {
    alike: Outcome,
    unlike: Outcome,
    coarse: Outcome,
}

struct Outcome {
    contest: Contest,
    held: Held,
}

/// Plays all contests.
pub(super) fn measure(
    policy: Policy,
    machines: &[Machine],
    pods: &[Pod],
    seed: u64,
) -> Result<Shares> {
    let outcome = |contest: Contest| {
        let held = backlog::play(policy, machines, pods, &contest, seed)?;
        anyhow::Ok(Outcome { contest, held })
    };
    Ok(Shares {
        alike: outcome(ALIKE)?,
        unlike: outcome(UNLIKE)?,
        coarse: outcome(COARSE)?,
    })
}

impl Shares {
    /// By how many percent of its entitlement the worst served framework was off, where each can use whatever comes free.
    pub(super) fn worst_deviation(&self) -> f64 {
        self.alike.worst().max(self.unlike.worst())
    }

    /// The same where one framework has large tasks only.
    pub(super) fn worst_deviation_coarse(&self) -> f64 {
        self.coarse.worst()
    }

    /// Each framework of each contest.
    pub(super) fn as_json(&self) -> Value {
        let all = [&self.alike, &self.unlike, &self.coarse];
        all.map(Outcome::as_json).into_iter().collect()
    }
}

impl Outcome {
    fn worst(&self) -> f64 {
        let all = (0..self.contest.rivals.len()).map(|at| self.deviation(at).abs());
        all.fold(0.0, f64::max)
    }

    /// The dominant share that a framework should have.
    fn entitled(&self, at: usize) -> f64 {
        let weight = |rival: &Rival| f64::from(rival.weight_milli);
        let rivals = &self.contest.rivals;
        let weights: f64 = rivals.iter().map(weight).sum();
        self.held.shares.iter().sum::<f64>() * weight(&rivals[at]) / weights
    }

    /// How many percent of its entitlement a framework has more; below zero: less.
    fn deviation(&self, at: usize) -> f64 {
        100.0 * (self.held.shares[at] / self.entitled(at) - 1.0)
    }

    fn as_json(&self) -> Value {
        let percent = |part: f64| rounded(100.0 * part);
        let frameworks = self.contest.rivals.iter().enumerate().map(|(at, rival)| {
            json!({
                "weight": f64::from(rival.weight_milli) / 1_000.0,
                "tasks": rival.tasks.name(),
                "entitled_percent": percent(self.entitled(at)),
                "share_percent": percent(self.held.shares[at]),
                "deviation_percent": rounded(self.deviation(at)),
            })
        });
        json!({
            "contest": self.contest.name,
            "cpus_used_percent": percent(self.held.cpus),
            "share_deviation_percent": rounded(self.worst()),
            "frameworks": frameworks.collect::<Vec<_>>(),
        })
    }
}

impl Rival {
    const fn new(weight_milli: u32, tasks: Tasks) -> Self {
        Self {
            weight_milli,
            tasks,
        }
    }

    /// Those of the trace that are its own, as often as they are there.
    pub(super) fn tasks(self, pods: &[Pod]) -> Vec<Pod> {
        let own = pods.iter().filter(|pod| self.tasks.has(pod));
        let mut own: Vec<Pod> = own.cloned().collect();
        if matches!(self.tasks, Tasks::NoGpusAndSmall) {
            own.push(Pod {
                // Of memory little: it does not run out.
                asked: Resources::cpus_mem(ONE_CPU_MILLI, 1_024),
                groups: Groups::ANY,
            });
        }
        own
    }
}

impl Tasks {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::WholeGpus => "whole_gpus",
            Self::GpuParts => "gpu_parts",
            Self::NoGpus => "no_gpus",
            Self::NoGpusAndSmall => "no_gpus_and_small",
        }
    }

    const fn has(self, pod: &Pod) -> bool {
        let gpus_milli = pod.asked.gpus_milli;
        match self {
            Self::All => true,
            Self::WholeGpus => gpus_milli >= 1_000,
            Self::GpuParts => gpus_milli > 0 && gpus_milli < 1_000,
            Self::NoGpus | Self::NoGpusAndSmall => gpus_milli == 0,
        }
    }
}
