//! What the loop counts about itself. Moved by the loop alone; costs a few atomics per batch.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::recent::Recent;

/// Counters and times of one loop.
pub(super) struct Metrics {
    inputs: Counter<u64, AtomicU64>,
    batches: Counter<u64, AtomicU64>,
    step_seconds: Histogram,
    commit_seconds: Histogram,
    commits: Recent,
    inbox_length: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        // 10 µs to 2.6 s: a step is some microseconds, a commit on a bad disk is seconds.
        let buckets = || exponential_buckets(0.000_01, 4.0, 10);
        Self {
            inputs: Counter::default(),
            batches: Counter::default(),
            step_seconds: Histogram::new(buckets()),
            commit_seconds: Histogram::new(buckets()),
            commits: Recent::default(),
            inbox_length: Gauge::default(),
        }
    }
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "inputs",
            "Inputs the machine has stepped",
            self.inputs.clone(),
        );
        registry.register(
            "batches",
            "Batches of inputs, each with at most one commit",
            self.batches.clone(),
        );
        registry.register_with_unit(
            "step",
            "Time the machine took for the inputs of one batch",
            Unit::Seconds,
            self.step_seconds.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time one batch took to become durable",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "inbox_length",
            "Inputs waiting when a batch was taken",
            self.inbox_length.clone(),
        );
    }

    pub(super) fn stepped(&self, inputs: usize, took: Duration, waiting: usize) {
        if inputs == 0 {
            return;
        }
        self.inputs.inc_by(inputs as u64);
        self.batches.inc();
        self.step_seconds.observe(took.as_secs_f64());
        self.inbox_length
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commits.observe(took);
    }

    /// The last commits.
    pub(super) fn commits(&self) -> Recent {
        self.commits.clone()
    }
}
