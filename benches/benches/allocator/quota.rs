//! Mesos' `LargeAndSmallQuota`: as many roles as agents, each with a quota.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Bencher, BenchmarkId, Criterion, SamplingMode, Throughput};
use mete_benches::cluster::{Cluster, NOON, calls};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_benches::mesos;
use mete_model::{MB_MILLI, Resources};
use mete_placement::Grant;

use crate::stopwatch;

const ROLES: usize = 3_000;

/// CPUs of 2,500 small and 500 large quotas together, in thousandths.
const QUOTA_CPUS_MILLI: u64 = 4_500_000;

/// Two questions: a round that gives each role its quota, with everything handed back; and a round in which
/// nothing may be given, because each role has its quota.
pub(crate) fn quota_large_small(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("quota_large_small");
    group.throughput(Throughput::Elements(ROLES as u64));
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(ROLES), |b| {
        let (cluster, dice) = fixture.get_or_insert_with(|| (mesos::quota(ROLES), Dice::new(26)));
        all_offered(b, cluster, dice);
    });
    group.throughput(Throughput::Elements(1));
    group.sampling_mode(SamplingMode::Auto);
    let name = format!("{ROLES}_nothing_left");
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let (cluster, dice) = fixture.get_or_insert_with(|| {
            let mut cluster = mesos::quota(ROLES);
            let grants = cluster.give_away(NOON);
            assert_eq!(cpus(&grants), QUOTA_CPUS_MILLI, "each role has its quota");
            (cluster, Dice::new(27))
        });
        nothing_left(b, cluster, dice);
    });
    group.finish();
}

/// The round counts, and that everything is handed back without a filter. Between the rounds a tenth of
/// the agents, drawn at random, takes another shape.
fn all_offered(b: &mut Bencher<'_, ThreadCpu>, cluster: &mut Cluster, dice: &mut Dice) {
    stopwatch::repeat(b, |watch| {
        for _ in 0..ROLES / 10 {
            cluster.resize(dice.index(ROLES), mesos::quota_machine(dice));
        }
        let grants = watch.run(|| cluster.give_away(NOON));
        assert_eq!(cpus(&grants), QUOTA_CPUS_MILLI, "each role has its quota");
        let calls = calls(grants, dice);
        watch.run(|| cluster.decline(NOON, &calls, Duration::ZERO));
    });
}

/// One of the agents that are left, drawn at random, changes its shape: of CPUs or of disk it has more than
/// before. Change and round count.
fn nothing_left(b: &mut Bencher<'_, ThreadCpu>, cluster: &mut Cluster, dice: &mut Dice) {
    let left = left(cluster);
    let mut shape = 0;
    b.iter(|| {
        let agent = left[dice.index(left.len())];
        shape = (shape + 1 + dice.below(99)) % 100;
        let mut total = Resources::cpus_mem(2_000 + 10 * shape, 2_048);
        total.disk_milli = (2_148 - shape) * MB_MILLI;
        cluster.resize(agent, total);
        assert!(black_box(cluster.give_away(NOON)).is_empty());
    });
}

fn cpus(grants: &[Grant]) -> u64 {
    grants.iter().map(|grant| grant.resources.cpus_milli).sum()
}

/// The agents that are wholly free.
fn left(cluster: &Cluster) -> Vec<usize> {
    let is_free = |agent: &usize| {
        let free = cluster.allocator.free(&cluster.agents[*agent]);
        free.is_some_and(|free| free.cpus_milli >= 2_000)
    };
    (0..cluster.agents.len()).filter(is_free).collect()
}
