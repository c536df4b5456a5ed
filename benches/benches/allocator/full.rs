//! Everything is free, and one round gives it all away.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use mete_benches::cluster::{NOON, Roles, calls};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_benches::mesos;

use crate::stopwatch;

/// Each framework is in a role of its own.
pub(crate) fn full_own_role(c: &mut Criterion<ThreadCpu>) {
    full(c, "full_own_role", (20_000, 1_000), Roles::Own);
}

/// All frameworks are in one role.
pub(crate) fn full_one_role(c: &mut Criterion<ThreadCpu>) {
    full(c, "full_one_role", (10_000, 1_000), Roles::One);
}

/// A round that gives all agents as values, and all of them handed back without a filter, in one call of each framework:
/// both count.
/// Between the rounds a tenth of the agents, drawn at random, takes another shape.
fn full(
    c: &mut Criterion<ThreadCpu>,
    question: &str,
    (agents, frameworks): (usize, usize),
    roles: Roles,
) {
    let mut group = c.benchmark_group(question);
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(agents as u64));
    let name = format!("{agents}x{frameworks}");
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let (cluster, dice) =
            fixture.get_or_insert_with(|| (mesos::free(agents, frameworks, roles), Dice::new(21)));
        stopwatch::repeat(b, |watch| {
            for _ in 0..agents / 10 {
                cluster.resize(dice.index(agents), mesos::machine(dice));
            }
            let grants = watch.run(|| cluster.give_away(NOON));
            assert_eq!(grants.len(), agents, "each agent is given whole");
            let calls = calls(grants, dice);
            watch.run(|| cluster.decline(NOON, &calls, Duration::ZERO));
        });
    });
    group.finish();
}
