//! What would happen if: a question on a copy of the live state.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use mete_benches::cluster::{self, NOON};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_model::Resources;
use mete_placement::{Policy, Shape, WhatIf};

/// A cluster half used by 200 frameworks: a thousand tasks of one of a hundred shapes come, an agent drawn at random is
/// emptied, and places are chosen by another policy. The copy counts.
pub(crate) fn what_if(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("what_if");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    for agents in [10_000, 100_000] {
        let mut fixture = None;
        group.bench_function(BenchmarkId::from_parameter(agents), |b| {
            let (cluster, dice) =
                fixture.get_or_insert_with(|| (cluster::half_used(agents, 200), Dice::new(29)));
            b.iter(|| {
                let mut shape = Shape::new(Resources::cpus_mem(
                    1_000 + 100 * dice.below(10),
                    1_024 + 128 * dice.below(10),
                ));
                shape.count = 1_000;
                let question = WhatIf {
                    add: vec![shape],
                    drain: vec![cluster.agents[dice.index(agents)].clone()],
                    policy: Some(Policy::Fgd),
                    ..WhatIf::default()
                };
                let answer = black_box(cluster.allocator.what_if(NOON, &question));
                assert_eq!(answer.shapes[0].missing, 0, "half of all is free");
            });
        });
    }
    group.finish();
}
