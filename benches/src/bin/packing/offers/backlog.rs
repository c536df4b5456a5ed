//! Endless backlogs: whether everybody gets what its weight entitles it to while tasks come and go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use anyhow::Result;
use mete_benches::dice::Dice;
use mete_placement::Policy;

use super::two_levels::{Cluster, Running};
use crate::openb::trace::{Machine, Pod};

/// One framework each, in thousandths.
const WEIGHTS_MILLI: [u32; 4] = [1_000, 1_000, 2_000, 4_000];
/// Ends of tasks that are played before anything is measured: some times as many as run at once.
const WARM_UP: usize = 20_000;
/// Ends of tasks that are measured over.
const MEASURED: usize = 40_000;
/// Tasks that each framework states at a time: so many that one that fits nowhere does not keep the others from trying.
const STATED: usize = 16;

/// A task's end: when, and which.
type End = Reverse<(u64, usize)>;

/// By how many percent of its entitlement the share of the worst served framework is off, over time.
pub(super) fn worst_deviation(
    policy: Policy,
    machines: &[Machine],
    pods: &[Pod],
    seed: u64,
) -> Result<f64> {
    let mut play = Play::new(policy, machines, pods, seed)?;
    for _ in 0..WARM_UP {
        play.next_end()?;
    }
    let start = play.now;
    play.shares = [0.0; WEIGHTS_MILLI.len()];
    for _ in 0..MEASURED {
        play.next_end()?;
    }
    let time = (play.now - start) as f64;
    let shares = play.shares.map(|sum| sum / time);
    let all: f64 = shares.iter().sum();
    let weights: f64 = WEIGHTS_MILLI.iter().copied().map(f64::from).sum();
    let off = shares.iter().zip(WEIGHTS_MILLI).map(|(share, weight)| {
        let entitled = all * f64::from(weight) / weights;
        100.0 * (share - entitled).abs() / entitled
    });
    Ok(off.fold(0.0, f64::max))
}

struct Play<'a> {
    cluster: Cluster,
    pods: &'a [Pod],
    dice: Dice,
    now: u64,
    waiting: Vec<Vec<&'a Pod>>,
    running: Vec<Option<Running>>,
    ends: BinaryHeap<End>,
    /// Shares times how long they were held.
    shares: [f64; WEIGHTS_MILLI.len()],
}

impl<'a> Play<'a> {
    fn new(policy: Policy, machines: &[Machine], pods: &'a [Pod], seed: u64) -> Result<Self> {
        let mut cluster = Cluster::new(policy, machines, WEIGHTS_MILLI.len())?;
        for (framework, weight) in WEIGHTS_MILLI.into_iter().enumerate() {
            let role = cluster.role(framework).clone();
            let weight = NonZeroU32::new(weight).expect("weights are above zero");
            cluster.allocator.set_weight(&role, weight);
        }
        let mut play = Self {
            cluster,
            pods,
            dice: Dice::new(seed),
            now: 0,
            waiting: vec![Vec::new(); WEIGHTS_MILLI.len()],
            running: Vec::new(),
            ends: BinaryHeap::new(),
            shares: [0.0; WEIGHTS_MILLI.len()],
        };
        play.place()?;
        Ok(play)
    }

    /// Time passes to the next end, and what is free then is given away.
    fn next_end(&mut self) -> Result<()> {
        let Some(Reverse((at, task))) = self.ends.pop() else {
            return Ok(());
        };
        for (framework, sum) in self.shares.iter_mut().enumerate() {
            *sum += self.cluster.share(framework) * (at - self.now) as f64;
        }
        self.now = at;
        if let Some(task) = self.running[task].take() {
            self.cluster.end(&task);
        }
        self.place()
    }

    /// Until nothing that waits finds a place.
    fn place(&mut self) -> Result<()> {
        loop {
            for framework in 0..self.waiting.len() {
                self.state(framework)?;
            }
            if !self.serve()? {
                return Ok(());
            }
        }
    }

    /// Fills a framework's backlog up, and states it when that is new.
    fn state(&mut self, framework: usize) -> Result<()> {
        let waiting = &mut self.waiting[framework];
        if waiting.len() == STATED {
            return Ok(());
        }
        while waiting.len() < STATED {
            let at = self.dice.below(self.pods.len() as u64) as usize;
            waiting.push(&self.pods[at]);
        }
        self.cluster.demand(framework, waiting)
    }

    /// One round; whether anything was launched.
    fn serve(&mut self) -> Result<bool> {
        let all: Vec<Vec<&Pod>> = self.waiting.clone();
        let launched = self.cluster.serve(&all)?;
        let any = !launched.is_empty();
        for (task, at) in launched {
            // One that waited is gone; ends are exponential, a million ticks on average.
            let waiting = &mut self.waiting[task.framework];
            waiting.remove(
                waiting
                    .iter()
                    .position(|pod| *pod == all[task.framework][at])
                    .unwrap_or(0),
            );
            let uniform = (self.dice.below(1 << 30) + 1) as f64 / (1_u64 << 30) as f64;
            let life = (-uniform.ln() * 1e6) as u64 + 1;
            self.ends
                .push(Reverse((self.now + life, self.running.len())));
            self.running.push(Some(task));
        }
        Ok(any)
    }
}
