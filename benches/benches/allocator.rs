//! How long offers take to decide.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mete_benches::cluster::{self, NOON, position};
use mete_benches::dice::Dice;

/// One allocation round over a half-used cluster with 200 frameworks, per number of agents.
fn allocation_round(c: &mut Criterion) {
    let mut group = c.benchmark_group("allocation_round");
    for agents in [100, 1_000, 10_000] {
        let full = cluster::half_used(agents, 200).allocator;
        group.throughput(Throughput::Elements(agents as u64));
        group.bench_function(BenchmarkId::from_parameter(agents), |b| {
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
fn one_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_change");
    group.throughput(Throughput::Elements(1));
    for agents in [1_000, 10_000] {
        let (mut cluster, mut holders) = cluster::wholly_used(agents, 200);
        let mut dice = Dice::new(4);
        group.bench_function(BenchmarkId::from_parameter(agents), |b| {
            b.iter(|| {
                let at = dice.below(agents as u64) as usize;
                let (holder, held) = &mut holders[at];
                let (framework, role) = &cluster.frameworks[*holder];
                let agent = &cluster.agents[at];
                cluster.allocator.release(agent, framework, role, held);
                let grant = cluster.allocator.round(NOON).pop().expect("it is free");
                *holder = position(grant.framework.as_str());
                *held = grant.resources;
            });
        });
    }
    group.finish();
}

/// A round when everybody has declined everything, and one agent's resources were touched.
fn decline_saturated(c: &mut Criterion) {
    let mut group = c.benchmark_group("decline_saturated");
    group.throughput(Throughput::Elements(1));
    group.sample_size(20);
    for (agents, frameworks) in [(1_000, 50), (10_000, 50)] {
        let mut cluster = cluster::empty(agents, frameworks);
        while cluster.allocator.wants_round() {
            for grant in cluster.allocator.round(NOON) {
                cluster.allocator.give_back(
                    NOON,
                    &grant.agent,
                    &grant.framework,
                    &grant.role,
                    &grant.resources,
                    cluster::REFUSAL,
                );
            }
        }
        assert_eq!(cluster.allocator.filters(), agents * frameworks);
        let mut dice = Dice::new(5);
        let name = format!("{agents}x{frameworks}");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let agent = &cluster.agents[dice.below(agents as u64) as usize];
                cluster.allocator.set_agent_offerable(agent, false);
                cluster.allocator.set_agent_offerable(agent, true);
                assert!(cluster.allocator.wants_round(), "the agent was touched");
                assert!(black_box(cluster.allocator.round(NOON)).is_empty());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, allocation_round, one_change, decline_saturated);
criterion_main!(benches);
