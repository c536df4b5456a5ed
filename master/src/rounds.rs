//! How long rounds of allocation take: the cluster has no clock, so its two halves of a step are timed around it.

use mete_daemon::clock;
use mete_daemon::recent::Recent;
use mete_master_core::{Cluster, Input};
use mete_model::{Effects, Machine, Timestamp};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The cluster, and a watch at its rounds.
#[derive(Debug)]
pub(crate) struct Timed {
    cluster: Cluster,
    round_seconds: Histogram,
    recent: Recent,
}

impl Timed {
    /// Watches `cluster`; the time of its rounds is `mete_master_allocation_run_seconds`.
    pub(crate) fn new(cluster: Cluster, registry: &mut Registry) -> Self {
        // 1 µs to 1 s: one agent freed is some microseconds, a whole cluster some milliseconds.
        let round_seconds = Histogram::new(exponential_buckets(0.000_001, 4.0, 11));
        registry.register_with_unit(
            "mete_master_allocation_run",
            "Time of one round of allocation, with making its offers",
            Unit::Seconds,
            round_seconds.clone(),
        );
        Self {
            cluster,
            round_seconds,
            recent: Recent::default(),
        }
    }

    /// How long the last rounds took.
    pub(crate) fn recent(&self) -> Recent {
        self.recent.clone()
    }
}

impl Machine for Timed {
    type Input = Input;
    type Record = <Cluster as Machine>::Record;
    type Action = <Cluster as Machine>::Action;
    type Reply = <Cluster as Machine>::Reply;
    type View = <Cluster as Machine>::View;

    fn step(&mut self, now: Timestamp, input: Input) -> Effects<Self> {
        let mut effects = self.cluster.decide(now, input);
        let started = clock::elapsed();
        if self.cluster.allocate(now, &mut effects) {
            let took = clock::elapsed() - started;
            self.round_seconds.observe(took.as_secs_f64());
            self.recent.observe(took);
        }
        let Effects { store, act, reply } = effects;
        Effects { store, act, reply }
    }

    fn deadline_input() -> Input {
        Cluster::deadline_input()
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.cluster.next_deadline()
    }

    fn view(&self) -> Self::View {
        self.cluster.view()
    }
}
