//! How long a framework takes to lay tasks onto offers.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mete_benches::dice::Dice;
use mete_benches::offers;
use mete_placement::{Constraint, Policy, Waiting, match_tasks};

/// One waiting task of a random shape against all offers.
fn match_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("match_offers");
    for count in [100, 1_000, 10_000] {
        let offers = offers::offers(count);
        let mut dice = Dice::new(6);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let waiting = [offers::task(&mut dice)];
                let seed = dice.below(u64::MAX);
                black_box(match_tasks(&waiting, &offers, Policy::BestFit, seed))
            });
        });
    }
    group.finish();
}

/// A hundred tasks of ten shapes, spread over racks, against all offers.
fn match_hundred(c: &mut Criterion) {
    let mut group = c.benchmark_group("match_hundred");
    group.throughput(Throughput::Elements(100));
    for count in [100, 1_000] {
        let offers = offers::offers(count);
        let mut dice = Dice::new(7);
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let waiting: Vec<Waiting> = (0..10)
                    .map(|_| Waiting {
                        count: 10,
                        constraints: vec![
                            Constraint::parse("rack", "GROUP_BY", None).expect("a good one"),
                        ],
                        ..offers::task(&mut dice)
                    })
                    .collect();
                let seed = dice.below(u64::MAX);
                black_box(match_tasks(&waiting, &offers, Policy::BestFit, seed))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, match_one, match_hundred);
criterion_main!(benches);
