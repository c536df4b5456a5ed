//! The machines while they are filled.
//!
//! The policy is asked through its public face. A score is kept until its machine or the mix changes, and
//! empty machines of one kind are scored once, as any scheduler would do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mete_model::Resources;
use mete_placement::Policy;
use mete_placement::packing::{Mix, Node, Packing as _, Score};

use super::trace::{Machine, Pod, gpus_milli};

/// Kubernetes' limit in the published runs.
const MOST_PODS: u32 = 1_001;

/// Machines, what is free on them, and scores.
pub(crate) struct Cluster<'a> {
    policy: Policy,
    machines: &'a [Machine],
    /// For each machine the first one like it.
    like: Vec<usize>,
    free: Vec<Resources>,
    pods: Vec<u32>,
    /// One more with each change, by machine.
    changes: Vec<u32>,
    mix: Mix,
    learns: bool,
    shapes: BTreeMap<Pod, usize>,
    /// By shape and machine.
    scores: Vec<Vec<Kept>>,
    /// By shape and machine: of empty machines, kept at the first one of each kind.
    empty_scores: Vec<Vec<Kept>>,
}

/// A score with the state that it holds for; `None` where the pod does not fit.
#[derive(Clone, Copy, Default)]
struct Kept {
    /// Changes of the machine plus one; 0: never scored.
    change: u32,
    mix_version: u64,
    score: Option<Score>,
}

/// How it went.
pub(crate) struct Filled {
    capacity: u64,
    /// After each arrival: asked for and allocated so far, in thousandths of GPUs.
    steps: Vec<(u64, u64)>,
    elapsed: Duration,
}

impl<'a> Cluster<'a> {
    /// Empty machines. With `known` the mix is these pods', and nothing is learnt.
    pub(crate) fn new(policy: Policy, machines: &'a [Machine], known: Option<&[Pod]>) -> Self {
        let mut mix = Mix::default();
        for machine in machines {
            mix.add_machine(&machine.total, machine.group);
        }
        for pod in known.into_iter().flatten() {
            mix.note(&pod.asked, pod.groups, 1);
        }
        mix.settle();
        let mut kinds = BTreeMap::new();
        let like = machines
            .iter()
            .enumerate()
            .map(|(at, machine)| *kinds.entry((&machine.total, machine.group)).or_insert(at))
            .collect();
        Self {
            policy,
            machines,
            like,
            free: machines
                .iter()
                .map(|machine| machine.total.clone())
                .collect(),
            pods: vec![0; machines.len()],
            changes: vec![1; machines.len()],
            mix,
            learns: known.is_none(),
            shapes: BTreeMap::new(),
            scores: Vec::new(),
            empty_scores: Vec::new(),
        }
    }

    /// Places all that fit, in this order.
    pub(crate) fn fill(mut self, arrivals: &[Pod]) -> Result<Filled> {
        let mut filled = Filled {
            capacity: gpus_milli(self.machines),
            steps: Vec::with_capacity(arrivals.len()),
            elapsed: Duration::ZERO,
        };
        let mut ledger = Ledger::new(self.machines);
        let (mut asked, mut allocated) = (0, 0);
        for pod in arrivals {
            asked += pod.asked.gpus_milli;
            #[expect(clippy::disallowed_methods, reason = "a stopwatch")]
            let start = std::time::Instant::now();
            let placed = self.place(pod)?;
            filled.elapsed += start.elapsed();
            if let Some((machine, pinned)) = placed {
                ledger.add(machine, pod, &pinned)?;
                allocated += pod.asked.gpus_milli;
            }
            filled.steps.push((asked, allocated));
        }
        Ok(filled)
    }

    /// Finds the best machine and takes the place.
    fn place(&mut self, pod: &Pod) -> Result<Option<(usize, Resources)>> {
        if self.learns {
            self.mix.note(&pod.asked, pod.groups, 1);
        }
        let Some(best) = self.best(pod) else {
            return Ok(None);
        };
        let pinned = self.policy.pin(&pod.asked, self.node(best), &self.mix);
        let pinned = pinned.context("a scored machine has the devices")?;
        self.free[best] = self.free[best]
            .minus(&pinned)
            .context("a scored machine has room")?;
        self.pods[best] += 1;
        self.changes[best] += 1;
        Ok(Some((best, pinned)))
    }

    /// The machine with the least score, of equal ones the first.
    fn best(&mut self, pod: &Pod) -> Option<usize> {
        let shape = match self.shapes.get(pod) {
            Some(shape) => *shape,
            None => {
                let shape = self.shapes.len();
                self.shapes.insert(pod.clone(), shape);
                self.scores.push(vec![Kept::default(); self.machines.len()]);
                self.empty_scores
                    .push(vec![Kept::default(); self.machines.len()]);
                shape
            }
        };
        let mix_version = self.mix.version();
        let mut best: Option<(Score, usize)> = None;
        for at in 0..self.machines.len() {
            let kept = self.scores[shape][at];
            if kept.change != self.changes[at] || kept.mix_version != mix_version {
                let score = self.score(shape, pod, at);
                self.scores[shape][at] = Kept {
                    change: self.changes[at],
                    mix_version,
                    score,
                };
            }
            if let Some(score) = self.scores[shape][at].score
                && best.is_none_or(|(least, _)| score < least)
            {
                best = Some((score, at));
            }
        }
        best.map(|(_, at)| at)
    }

    fn score(&mut self, shape: usize, pod: &Pod, at: usize) -> Option<Score> {
        if !pod.groups.allow(self.machines[at].group) || !self.free[at].contains(&pod.asked) {
            return None;
        }
        if self.pods[at] > 0 {
            let has_room = self.pods[at] < MOST_PODS;
            return has_room.then(|| self.policy.score(&pod.asked, self.node(at), &self.mix));
        }
        let kept = self.empty_scores[shape][self.like[at]];
        if kept.change > 0 && kept.mix_version == self.mix.version() {
            return kept.score;
        }
        let score = Some(self.policy.score(&pod.asked, self.node(at), &self.mix));
        self.empty_scores[shape][self.like[at]] = Kept {
            change: 1,
            mix_version: self.mix.version(),
            score,
        };
        score
    }

    fn node(&self, at: usize) -> Node<'_> {
        Node {
            total: &self.machines[at].total,
            free: &self.free[at],
            group: self.machines[at].group,
        }
    }
}

impl Filled {
    /// Nothing has arrived at a cluster with so many thousandths of GPUs.
    pub(crate) const fn new(capacity: u64) -> Self {
        Self {
            capacity,
            steps: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// So much was asked for and allocated after one more arrival.
    pub(crate) fn step(&mut self, asked: u64, allocated: u64) {
        self.steps.push((asked, allocated));
    }

    /// Percent of all GPUs that were allocated while arrivals had asked for so many percent, rounded; the mean.
    pub(crate) fn percent_at(&self, arrived: u64) -> f64 {
        let percent = |asked: u64| (200 * asked + self.capacity) / (2 * self.capacity);
        let at: Vec<u64> = self
            .steps
            .iter()
            .filter(|(asked, _)| percent(*asked) == arrived)
            .map(|(_, allocated)| *allocated)
            .collect();
        let mean = at.iter().sum::<u64>() as f64 / at.len().max(1) as f64;
        100.0 * mean / self.capacity as f64
    }

    pub(crate) fn microseconds_per_decision(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1e6 / self.steps.len().max(1) as f64
    }
}

/// What was placed, counted anew in plain numbers: nothing of it may pass what a machine has.
struct Ledger<'a> {
    machines: &'a [Machine],
    /// CPUs, memory and pods.
    used: Vec<[u64; 3]>,
    /// Thousandths by device.
    devices: Vec<BTreeMap<u16, u64>>,
}

impl<'a> Ledger<'a> {
    fn new(machines: &'a [Machine]) -> Self {
        Self {
            machines,
            used: vec![[0; 3]; machines.len()],
            devices: vec![BTreeMap::new(); machines.len()],
        }
    }

    fn add(&mut self, at: usize, pod: &Pod, pinned: &Resources) -> Result<()> {
        let Machine { total, group } = &self.machines[at];
        let used = &mut self.used[at];
        used[0] += pod.asked.cpus_milli;
        used[1] += pod.asked.mem_bytes;
        used[2] += 1;
        ensure!(
            used[0] <= total.cpus_milli && used[1] <= total.mem_bytes,
            "machine {at} holds more than it has: {used:?}"
        );
        ensure!(
            used[2] <= u64::from(MOST_PODS),
            "machine {at} holds {} pods",
            used[2]
        );
        ensure!(
            pod.groups.allow(*group),
            "machine {at} is of a model that was not asked for"
        );
        let mut given = 0;
        for device in pinned.devices().list() {
            let milli = self.devices[at].entry(device.index).or_insert(0);
            *milli += u64::from(device.milli);
            given += u64::from(device.milli);
            ensure!(
                *milli <= u64::from(total.devices().milli(device.index)),
                "device {} of machine {at} is given away {milli} thousandths",
                device.index
            );
        }
        ensure!(
            given == pod.asked.gpus_milli,
            "{given} thousandths of GPUs were given"
        );
        let count = pinned.devices().list().len() as u64;
        ensure!(
            count == pod.asked.gpus_milli.div_ceil(1_000),
            "{count} devices were given for {} thousandths",
            pod.asked.gpus_milli
        );
        Ok(())
    }
}
