//! Clusters of our own measure: one change, and one round over all agents.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use mete_benches::cluster::{self, NOON, position};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;

/// One allocation round over a half-used cluster with 200 frameworks, per number of agents.
pub(crate) fn allocation_round(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("allocation_round");
    for agents in [100, 1_000, 10_000] {
        group.throughput(Throughput::Elements(agents as u64));
        let mut fixture = None;
        group.bench_function(BenchmarkId::from_parameter(agents), |b| {
            let full = fixture.get_or_insert_with(|| cluster::half_used(agents, 200).allocator);
            b.iter_batched_ref(
                || full.clone(),
                |allocator| black_box(allocator.round(NOON)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// From the end of a task that had a whole agent, drawn at random, to the offer of that agent: hand-in
/// and round together. 200 frameworks; everything else is in use.
pub(crate) fn one_change(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("one_change");
    group.throughput(Throughput::Elements(1));
    for agents in [1_000, 10_000, 100_000] {
        let mut fixture = None;
        group.bench_function(BenchmarkId::from_parameter(agents), |b| {
            let ((cluster, holders), dice) =
                fixture.get_or_insert_with(|| (cluster::wholly_used(agents, 200), Dice::new(4)));
            b.iter(|| {
                let at = dice.index(agents);
                let (holder, held) = &mut holders[at];
                let (framework, role) = &cluster.frameworks[*holder];
                let agent = &cluster.agents[at];
                cluster.allocator.release(agent, framework, role, held);
                let grant = cluster.allocator.round(NOON).pop().expect("it is free");
                cluster.launch(&grant, &grant.resources);
                *holder = position(grant.framework.as_str());
                *held = grant.resources;
            });
        });
    }
    group.finish();
}
