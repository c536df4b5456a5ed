//! The agent as numbers in the names of Mesos: GET_METRICS and `/metrics/snapshot`.

use std::collections::BTreeMap;

use mete_agent_core::{Stage, View};
use mete_daemon::clock;
use mete_model::TaskState;

use crate::http::{About, used};

/// Everything, by name. Amounts of memory and disk are in MB.
pub(in crate::http) fn snapshot(about: &About, view: &View) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let mut set = |name: String, value: f64| {
        all.insert(format!("slave/{name}"), value);
    };
    let is_registered = matches!(view.stage, Stage::Registered { .. });
    set("registered".to_owned(), f64::from(u8::from(is_registered)));
    let uptime = clock::now().since(about.started).as_secs_f64();
    set("uptime_secs".to_owned(), uptime);
    set("frameworks_active".to_owned(), view.frameworks.len() as f64);
    let live = view.tasks.values().filter(|task| task.is_live());
    let alone = live.filter(|task| task.executor.is_none()).count();
    let executors = view.executors.len() + alone;
    set("executors_running".to_owned(), executors as f64);
    for (state, count) in tasks(view) {
        let word = state.as_str().trim_start_matches("TASK_");
        set(format!("tasks_{}", word.to_ascii_lowercase()), count as f64);
    }
    let used = used(view);
    for ((name, total), (_, used)) in about.resources.in_units().into_iter().zip(used.in_units()) {
        let share = if total > 0.0 { used / total } else { 0.0 };
        set(format!("{name}_total"), total);
        set(format!("{name}_used"), used);
        set(format!("{name}_percent"), share);
    }
    all
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
