//! Filters: what they cost when all are set, when they run out, and in between.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use mete_benches::cluster::{Cluster, NOON, calls};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_benches::mesos;
use mete_model::{Resources, Timestamp};

use crate::stopwatch::{self, Stopwatch};

/// Everybody has declined everything for a year. Then, on one agent drawn at random, one task ends and
/// another starts, so that what is free there changes, but never to more than what was declined: a round
/// that may give nothing. The two events and the round count.
pub(crate) fn decline_saturated(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("decline_saturated");
    group.throughput(Throughput::Elements(1));
    for (agents, frameworks) in [(1_000, 50), (10_000, 50)] {
        let name = format!("{agents}x{frameworks}");
        let mut fixture = None;
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            let (cluster, running, dice) = fixture.get_or_insert_with(|| {
                let mut dice = Dice::new(22);
                let mut cluster = mesos::mostly_used(agents, frameworks);
                decline_all(&mut cluster, NOON, &mut dice, |_| mesos::FOREVER);
                let running: Vec<(usize, Resources)> = (0..agents)
                    .map(|agent| start(&mut cluster, agent, &mut dice))
                    .collect();
                (cluster, running, dice)
            });
            b.iter(|| {
                let agent = dice.index(agents);
                let (framework, task) = &running[agent];
                cluster.release(agent, *framework, task);
                running[agent] = start(cluster, agent, dice);
                assert!(black_box(cluster.give_away(NOON)).is_empty());
            });
        });
    }
    group.finish();
}

/// All filters run out within a second, in an order of their own, and a round after that gives all agents
/// again. It counts; that everything is declined once more does not.
pub(crate) fn filters_expire(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("filters_expire");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let (agents, frameworks) = (10_000, 50);
    group.throughput(Throughput::Elements((agents * frameworks) as u64));
    let name = format!("{agents}x{frameworks}");
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let (cluster, now, dice) = fixture
            .get_or_insert_with(|| (mesos::mostly_used(agents, frameworks), NOON, Dice::new(23)));
        stopwatch::repeat(b, |watch| {
            decline_all(cluster, *now, dice, |dice| {
                Duration::from_millis(5_000 + dice.below(1_000))
            });
            *now = *now + Duration::from_secs(6);
            let grants = watch.run(|| cluster.give_away(*now));
            assert_eq!(grants.len(), agents, "everything is given again");
            cluster.decline(*now, &[grants], Duration::ZERO);
        });
    });
    group.finish();
}

/// A round each second, each offer declined for the usual five in one call of each framework: the round, with the filters that ran out,
/// and the declines count. Before it is measured it has gone on for ten seconds.
pub(crate) fn decline_5s(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("decline_5s");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    let (agents, frameworks) = (10_000, 200);
    group.throughput(Throughput::Elements(agents as u64));
    let name = format!("{agents}x{frameworks}");
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let (cluster, now, dice) = fixture.get_or_insert_with(|| {
            let mut cluster = mesos::mostly_used(agents, frameworks);
            let (mut now, mut dice) = (NOON, Dice::new(24));
            for _ in 0..10 {
                second(&mut cluster, &mut now, &mut dice, &mut Stopwatch::default());
            }
            (cluster, now, dice)
        });
        stopwatch::repeat(b, |watch| second(cluster, now, dice, watch));
    });
    group.finish();
}

/// One round a second after the last; all it gives is declined.
fn second(cluster: &mut Cluster, now: &mut Timestamp, dice: &mut Dice, watch: &mut Stopwatch) {
    *now = *now + Duration::from_secs(1);
    let grants = watch.run(|| cluster.give_away(*now));
    assert_eq!(grants.len(), cluster.agents.len(), "somebody may have each");
    let calls = calls(grants, dice);
    watch.run(|| cluster.decline(*now, &calls, Duration::from_secs(5)));
}

/// Declines every offer until no more are made: each framework has declined each agent then.
fn decline_all(
    cluster: &mut Cluster,
    now: Timestamp,
    dice: &mut Dice,
    mut refuse_for: impl FnMut(&mut Dice) -> Duration,
) {
    loop {
        let mut grants = cluster.give_away(now);
        if grants.is_empty() {
            break;
        }
        dice.shuffle(&mut grants);
        for grant in grants {
            cluster.give_back(now, &grant, &grant.resources, refuse_for(dice));
        }
    }
    let all = cluster.agents.len() * cluster.frameworks.len();
    assert_eq!(cluster.allocator.filters(), all);
}

/// A task of some framework starts on the agent; what it takes is free there.
fn start(cluster: &mut Cluster, agent: usize, dice: &mut Dice) -> (usize, Resources) {
    let framework = dice.index(cluster.frameworks.len());
    let task = mesos::task(dice);
    cluster.claim(agent, framework, &task);
    (framework, task)
}
