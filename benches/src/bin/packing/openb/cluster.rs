//! The machines while they are filled.
//!
//! Places are found as the allocator finds them: by the fleet, which keeps scores until something changes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use criterion::measurement::Measurement as _;
use mete_benches::cpu::ThreadCpu;
use mete_model::Resources;
use mete_placement::Policy;
use mete_placement::fleet::Fleet;
use mete_placement::packing::{Mix, Node, Packing as _};

use super::trace::{Machine, Pod, gpus_milli};

/// Kubernetes' limit in the published runs.
const MOST_PODS: u32 = 1_001;

/// Machines and what is free on them.
pub(crate) struct Cluster<'a> {
    policy: Policy,
    machines: &'a [Machine],
    free: Vec<Resources>,
    pods: Vec<u32>,
    fleet: Fleet,
    mix: Mix,
    learns: bool,
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
        let mut fleet = Fleet::default();
        for (number, machine) in (0..).zip(machines) {
            fleet.set(number, &machine.total, &machine.total, machine.group);
        }
        let free = machines.iter().map(|machine| machine.total.clone());
        Self {
            policy,
            machines,
            free: free.collect(),
            pods: vec![0; machines.len()],
            fleet,
            mix,
            learns: known.is_none(),
        }
    }

    /// Places all that fit, in this order; all places are checked after that.
    pub(crate) fn fill(mut self, arrivals: &[Pod]) -> Result<Filled> {
        let mut places = Vec::with_capacity(arrivals.len());
        let start = ThreadCpu.start();
        for pod in arrivals {
            places.push(self.place(pod)?);
        }
        let mut filled = Filled {
            capacity: gpus_milli(self.machines),
            steps: Vec::with_capacity(arrivals.len()),
            elapsed: ThreadCpu.end(start),
        };
        let mut ledger = Ledger::new(self.machines);
        let (mut asked, mut allocated) = (0, 0);
        for (pod, place) in arrivals.iter().zip(places) {
            asked += pod.asked.gpus_milli;
            if let Some((machine, pinned)) = place {
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
        let (machines, pods) = (self.machines, &self.pods);
        let best = self
            .fleet
            .best(self.policy, &pod.asked, &self.mix, &mut |number| {
                let at = number as usize;
                pod.groups.allow(machines[at].group) && pods[at] < MOST_PODS
            });
        let Some(number) = best else {
            return Ok(None);
        };
        let at = number as usize;
        let Machine { total, group } = &machines[at];
        let node = Node {
            total,
            free: &self.free[at],
            group: *group,
        };
        let pinned = self.policy.pin(&pod.asked, node, &self.mix);
        let pinned = pinned.context("a scored machine has the devices")?;
        let left = self.free[at].minus(&pinned);
        self.free[at] = left.context("a scored machine has room")?;
        self.fleet.set(number, total, &self.free[at], *group);
        self.pods[at] += 1;
        Ok(Some((at, pinned)))
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
        used[1] += pod.asked.mem_milli;
        used[2] += 1;
        ensure!(
            used[0] <= total.cpus_milli && used[1] <= total.mem_milli,
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
