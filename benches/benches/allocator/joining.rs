//! Frameworks come to a cluster whose agents are there.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use mete_benches::cluster::{NOON, Roles, framework_id, role};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_benches::mesos;
use mete_model::{FrameworkId, Role};

use crate::stopwatch;

/// So many frameworks join, each in a role of its own, and the first round gives them all agents: both
/// count. Names are new each time; between the times all leave, and a tenth of the agents, drawn at
/// random, takes another shape.
pub(crate) fn add_frameworks(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("add_frameworks");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    let (agents, frameworks) = (20_000, 1_000);
    group.throughput(Throughput::Elements(frameworks as u64));
    let name = format!("{agents}x{frameworks}");
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let (cluster, dice) =
            fixture.get_or_insert_with(|| (mesos::free(agents, 0, Roles::Own), Dice::new(28)));
        stopwatch::repeat(b, |watch| {
            for _ in 0..agents / 10 {
                cluster.resize(dice.index(agents), mesos::machine(dice));
            }
            let names: Vec<(FrameworkId, Role)> = (0..frameworks).map(|_| names(dice)).collect();
            let grants = watch.run(|| {
                for (id, role) in names {
                    cluster.add_framework(id, role);
                }
                cluster.give_away(NOON)
            });
            assert_eq!(grants.len(), agents, "each agent is given whole");
            cluster.decline(NOON, &[grants], Duration::ZERO);
            cluster.remove_frameworks();
        });
    });
    group.finish();
}

/// A framework and its role; two draws never come out the same.
fn names(dice: &mut Dice) -> (FrameworkId, Role) {
    let number = dice.below(u64::MAX);
    (
        framework_id(&format!("8f3c2a-{number:020}")),
        role(&format!("role-{number:020}")),
    )
}
