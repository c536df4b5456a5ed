//! One pending task against all agents.

use std::hint::black_box;

use criterion::measurement::Measurement;
use criterion::{BenchmarkId, Criterion, Throughput};
use mete_benches::dice::Dice;
use mete_benches::fleet;
use mete_placement::Policy;

/// The best place for a task of a random one of 200 shapes, under the default policy, after the free
/// resources of one random agent have become others. Both together are measured.
pub(crate) fn one_task<M: Measurement>(c: &mut Criterion<M>) {
    let mut group = c.benchmark_group("match");
    group.throughput(Throughput::Elements(1));
    for agents in [10_000, 100_000] {
        let mut dice = Dice::new(6);
        let mut all = fleet::machines(agents, &mut dice);
        // States to come, so that drawing them is not measured.
        let changes: Vec<_> = (0..CHANGES)
            .map(|_| {
                let node = dice.below(agents as u64) as usize;
                all.change(node, &mut dice);
                (node, all.machines[node].free.clone())
            })
            .collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(agents), |b| {
            b.iter(|| {
                let (node, free) = &changes[at % changes.len()];
                at += 1;
                let machine = &all.machines[*node];
                let number = *node as u32;
                all.fleet.set(number, &machine.total, free, machine.group);
                let shape = &all.shapes[dice.below(all.shapes.len() as u64) as usize];
                let permit = &mut |_| true;
                black_box(all.fleet.best(Policy::default(), shape, &all.mix, permit))
            });
        });
    }
    group.finish();
}

/// How many changes are drawn; then they come again in the same order, for other shapes.
const CHANGES: usize = 100_003;
