//! The agent as numbers in the names of Mesos: GET_METRICS and `/metrics/snapshot`. All of Mesos' names are there; what cannot
//! happen here is 0.

use std::collections::BTreeMap;

use mete_agent_core::{Counters, ExecutorPhase, Phase, Stage, View};
use mete_daemon::clock;
use mete_daemon::mesos_http::Numbers;
use mete_model::TaskState;

use crate::http::{About, used};

/// What does not happen here: nothing is revocable, so nobody is preempted; an agent that cannot read what it stored does not
/// start; whoever has to be killed is killed until it has ended.
const NEVER: [&str; 3] = [
    "containerizer/mesos/container_destroy_errors",
    "slave/executors_preempted",
    "slave/recovery_errors",
];

/// Everything, by name. Amounts of memory and disk are in MB. Blocks.
pub(in crate::http) fn snapshot(about: &About, view: &View) -> BTreeMap<String, f64> {
    let mut all = Numbers::of_the_machine();
    all.zeros(NEVER);
    let is_registered = matches!(view.stage, Stage::Registered { .. });
    all.count("slave/registered", usize::from(is_registered));
    let uptime = clock::now().since(about.started).as_secs_f64();
    all.set("slave/uptime_secs", uptime);
    all.count("slave/frameworks_active", view.frameworks.len());
    executors(view, &mut all);
    for (state, count) in tasks(view) {
        let word = state.as_str().trim_start_matches("TASK_");
        let name = format!("slave/tasks_{}", word.to_ascii_lowercase());
        all.set(name, count as f64);
    }
    all.shares("slave", about.resources(view), &used(view));
    sandboxes(view, &mut all);
    counters(&view.counters, &mut all);
    let fetched = about.fetcher.numbers();
    for (name, number) in [
        ("task_fetches_succeeded", fetched.succeeded),
        ("task_fetches_failed", fetched.failed),
        ("cache_size_total_bytes", fetched.cache_max_bytes),
        ("cache_size_used_bytes", fetched.cache_bytes),
    ] {
        all.set(format!("containerizer/fetcher/{name}"), number as f64);
    }
    all.into_map()
}

/// Each task that came alone is one, as in Mesos.
fn executors(view: &View, all: &mut Numbers) {
    let (mut registering, mut running, mut terminating) = (0, view.executors.len(), 0);
    for executor in view.custom_executors.values() {
        match executor.phase {
            ExecutorPhase::Starting | ExecutorPhase::Awaited { .. } => registering += 1,
            ExecutorPhase::Subscribed => running += 1,
            ExecutorPhase::Ending(_) => terminating += 1,
        }
    }
    let alone = view.tasks.values().filter(|task| task.executor.is_none());
    for task in alone {
        match task.phase {
            Phase::Accepted | Phase::Starting => registering += 1,
            Phase::Running | Phase::Delegated | Phase::Killing(_) => running += 1,
            Phase::Ended { .. } => {}
        }
    }
    all.count("slave/executors_registering", registering);
    all.count("slave/executors_running", running);
    all.count("slave/executors_terminating", terminating);
}

/// Those that live by the state they are in; of those that are over, how many have ended so since the start.
fn tasks(view: &View) -> BTreeMap<TaskState, u64> {
    let mut counts = BTreeMap::from(TaskState::ALL.map(|state| (state, 0)));
    for (state, ended) in &view.ended {
        counts.insert(*state, *ended);
    }
    for task in view.tasks.values().filter(|task| task.is_live()) {
        *counts.entry(task.latest.state).or_default() += 1;
    }
    counts
}

fn sandboxes(view: &View, all: &mut Numbers) {
    let kept_for = view.sandboxes_kept_for.as_secs_f64();
    all.set("slave/executor_directory_max_allowed_age_secs", kept_for);
    all.count("gc/path_removals_pending", view.sandboxes.len());
}

fn counters(counters: &Counters, all: &mut Numbers) {
    for (name, count) in [
        ("slave/executors_terminated", counters.executors_ended),
        ("slave/container_launch_errors", counters.launches_failed),
        ("slave/valid_status_updates", counters.reports),
        ("slave/invalid_status_updates", counters.reports_refused),
        ("slave/valid_framework_messages", counters.messages),
        (
            "slave/invalid_framework_messages",
            counters.messages_dropped,
        ),
        ("gc/path_removals_succeeded", counters.sandboxes_removed),
        ("gc/path_removals_failed", counters.sandboxes_not_removed),
    ] {
        all.set(name, count as f64);
    }
}
