//! A cluster half used on which short tasks come and go.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use mete_benches::cluster::{NOON, position};
use mete_benches::cpu::ThreadCpu;
use mete_benches::dice::Dice;
use mete_benches::mesos;
use mete_model::Resources;
use mete_placement::Grant;

use crate::stopwatch;

/// An offer accepted: one task, and what is left of the offer.
struct Accepted {
    agent: usize,
    grant: Grant,
    task: Resources,
    rest: Resources,
}

/// A round that offers what is free on each agent; then the tasks of the round before end, and each offer
/// is accepted with one task and its rest handed back without a filter. All of it counts; what a framework
/// and the master do to choose the task does not.
pub(crate) fn partial(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("partial");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    let (agents, frameworks) = (20_000, 1_000);
    group.throughput(Throughput::Elements(agents as u64));
    let name = format!("{agents}x{frameworks}");
    let mut fixture = None;
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let (cluster, running, dice) = fixture.get_or_insert_with(|| {
            let running: Vec<Option<(usize, Resources)>> = vec![None; agents];
            let cluster = mesos::half_used(agents, frameworks);
            (cluster, running, Dice::new(25))
        });
        stopwatch::repeat(b, |watch| {
            let mut grants = watch.run(|| cluster.give_away(NOON));
            assert_eq!(grants.len(), agents, "each agent is half free");
            dice.shuffle(&mut grants);
            let accepted: Vec<Accepted> = grants
                .into_iter()
                .map(|grant| accept(grant, dice))
                .collect();
            watch.run(|| {
                for offer in &accepted {
                    if let Some((framework, task)) = &running[offer.agent] {
                        cluster.release(offer.agent, *framework, task);
                    }
                    cluster.launch(&offer.grant, &offer.task);
                    cluster.give_back(NOON, &offer.grant, &offer.rest, Duration::ZERO);
                }
            });
            for offer in accepted {
                let framework = position(offer.grant.framework.as_str());
                running[offer.agent] = Some((framework, offer.task));
            }
        });
    });
    group.finish();
}

fn accept(grant: Grant, dice: &mut Dice) -> Accepted {
    let task = mesos::task(dice);
    Accepted {
        agent: position(grant.agent.as_str()),
        rest: grant.resources.minus(&task).expect("an offer is larger"),
        grant,
        task,
    }
}
