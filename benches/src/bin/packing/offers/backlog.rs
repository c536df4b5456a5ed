//! Endless backlogs: every kind of a framework's tasks always waits, while tasks come and go.
//!
//! Were only some tasks stated, those that fit nowhere (with 8 GPUs, mostly) would pile up among them until nothing else
//! was, and who is entitled to most could not take what comes free.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU32;

use anyhow::Result;
use mete_benches::dice::Dice;
use mete_placement::Policy;

use super::shares::{Contest, Rival};
use super::two_levels::{Cluster, Running};
use crate::openb::trace::{Machine, Pod};

/// How long a task runs on average, in ticks; what ends within a tick is given away together.
const MEAN_LIFE: u64 = 100;
/// Ticks that are measured over.
const MEASURED: u64 = 3 * MEAN_LIFE;
/// How many of a kind wait, for each in the trace: more than are launched until more are stated.
const ENDLESS: u32 = 1_000;
/// Launches after which a framework states anew how many wait, and which are the most urgent.
const STATED_AFTER: u32 = 16;

/// What was held over time.
pub(super) struct Held {
    /// The dominant share of each framework.
    pub(super) shares: Vec<f64>,
    /// Which part of all CPUs.
    pub(super) cpus: f64,
}

/// One contest, with lives drawn at random.
pub(super) fn play(
    policy: Policy,
    machines: &[Machine],
    pods: &[Pod],
    contest: &Contest,
    seed: u64,
) -> Result<Held> {
    let mut play = Play::new(policy, machines, pods, &contest.rivals, seed)?;
    for _ in 0..contest.warm_up * MEAN_LIFE {
        play.tick()?;
    }
    let mut held = Held {
        shares: vec![0.0; contest.rivals.len()],
        cpus: 0.0,
    };
    let cpus: u64 = machines.iter().map(|one| one.total.cpus_milli).sum();
    for _ in 0..MEASURED {
        play.tick()?;
        for (framework, share) in held.shares.iter_mut().enumerate() {
            *share += play.cluster.share(framework) / MEASURED as f64;
            let part = play.cluster.cpus_milli(framework) as f64 / cpus as f64;
            held.cpus += part / MEASURED as f64;
        }
    }
    Ok(held)
}

/// A task's end: when, and which.
type End = Reverse<(u64, usize)>;

struct Play {
    cluster: Cluster,
    dice: Dice,
    now: u64,
    backlogs: Vec<Backlog>,
    running: Vec<Option<Running>>,
    ends: BinaryHeap<End>,
}

/// What a framework waits for.
struct Backlog {
    /// As stated last.
    kinds: Vec<Kind>,
    launched_since: u32,
}

/// Tasks that ask for the same.
struct Kind {
    pod: Pod,
    /// How many of them are in the trace.
    often: u32,
    launched: u32,
}

impl Play {
    fn new(
        policy: Policy,
        machines: &[Machine],
        pods: &[Pod],
        rivals: &[Rival],
        seed: u64,
    ) -> Result<Self> {
        let mut cluster = Cluster::new(policy, machines, rivals.len())?;
        for (framework, rival) in rivals.iter().enumerate() {
            let role = cluster.role(framework).clone();
            let weight = NonZeroU32::new(rival.weight_milli).expect("weights are above zero");
            cluster.allocator.set_weight(&role, weight);
        }
        let backlogs = rivals.iter().map(|rival| Backlog::new(rival.tasks(pods)));
        let mut play = Self {
            cluster,
            dice: Dice::new(seed),
            now: 0,
            backlogs: backlogs.collect(),
            running: Vec::new(),
            ends: BinaryHeap::new(),
        };
        for framework in 0..rivals.len() {
            play.state(framework)?;
        }
        play.place()?;
        Ok(play)
    }

    /// Time passes, and what is free then is given away.
    fn tick(&mut self) -> Result<()> {
        self.now += 1;
        while let Some(Reverse((at, task))) = self.ends.peek().copied()
            && at <= self.now
        {
            self.ends.pop();
            if let Some(task) = self.running[task].take() {
                self.cluster.end(&task);
            }
        }
        self.place()
    }

    /// Until nothing that waits finds a place.
    fn place(&mut self) -> Result<()> {
        while self.serve()? {
            for framework in 0..self.backlogs.len() {
                if self.backlogs[framework].launched_since >= STATED_AFTER {
                    self.state(framework)?;
                }
            }
        }
        Ok(())
    }

    /// States all that a framework waits for.
    fn state(&mut self, framework: usize) -> Result<()> {
        let backlog = &mut self.backlogs[framework];
        backlog.launched_since = 0;
        backlog.kinds.sort_by_key(Kind::due);
        let kinds = backlog.kinds.iter();
        let stated = kinds.map(|kind| (&kind.pod, kind.often * ENDLESS));
        self.cluster.demand(framework, stated)
    }

    /// One round; whether anything was launched.
    fn serve(&mut self) -> Result<bool> {
        let backlogs = self.backlogs.iter();
        let waiting: Vec<Vec<&Pod>> = backlogs
            .map(|backlog| backlog.kinds.iter().map(|kind| &kind.pod).collect())
            .collect();
        let launched = self.cluster.serve(&waiting)?;
        let any = !launched.is_empty();
        for (task, kind) in launched {
            let backlog = &mut self.backlogs[task.framework];
            backlog.kinds[kind].launched += 1;
            backlog.launched_since += 1;
            // Lives are exponential.
            let uniform = (self.dice.below(1 << 30) + 1) as f64 / (1_u64 << 30) as f64;
            let life = (-uniform.ln() * MEAN_LIFE as f64) as u64 + 1;
            self.ends
                .push(Reverse((self.now + life, self.running.len())));
            self.running.push(Some(task));
        }
        Ok(any)
    }
}

impl Backlog {
    fn new(pods: Vec<Pod>) -> Self {
        let mut often = BTreeMap::new();
        for pod in pods {
            *often.entry(pod).or_insert(0) += 1;
        }
        let kinds = often.into_iter().map(|(pod, often)| Kind {
            pod,
            often,
            launched: 0,
        });
        Self {
            kinds: kinds.collect(),
            launched_since: 0,
        }
    }
}

impl Kind {
    /// When the next is due if all kinds are launched as often as they are in the trace, in millionths of a trace; the first
    /// is the most urgent.
    fn due(&self) -> u64 {
        (2 * u64::from(self.launched) + 1) * 500_000 / u64::from(self.often)
    }
}
