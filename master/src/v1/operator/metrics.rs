//! The view as numbers in the names of Mesos, so that dashboards made for it keep working: GET_METRICS and
//! `/metrics/snapshot`.

use std::collections::BTreeMap;

use mete_daemon::clock;
use mete_master_core::{Counters, Framework, Reach, View};
use mete_model::{Resources, TaskState};

/// Everything, by name. Amounts of memory and disk are in MB.
pub(crate) fn snapshot(view: &View) -> BTreeMap<String, f64> {
    let mut all = Numbers::default();
    all.set("master/elected", 1.0);
    let uptime = clock::now().since(view.started).as_secs_f64();
    all.set("master/uptime_secs", uptime);
    all.count("master/outstanding_offers", view.offers.len());
    agents(view, &mut all);
    frameworks(view, &mut all);
    tasks(view, &mut all);
    resources(view, &mut all);
    counters(&view.counters, &mut all);
    all.0
}

/// By name.
#[derive(Default)]
struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    fn count(&mut self, name: &str, count: usize) {
        self.set(name, count as f64);
    }
}

fn agents(view: &View, all: &mut Numbers) {
    let known = || view.agents.values().filter(|agent| !agent.is_gone());
    let connected = || known().filter(|agent| agent.link().is_some());
    let active = connected().filter(|agent| agent.is_offerable()).count();
    let admitted = |reach: Reach| match reach {
        Reach::Disconnected { .. } => true,
        Reach::Registered { .. } | Reach::Recovered { .. } | Reach::Unreachable { .. } => false,
    };
    let away = known().filter(|agent| admitted(agent.reach)).count();
    let unreachable = known().filter(|agent| matches!(agent.reach, Reach::Unreachable { .. }));
    all.count("master/slaves_active", active);
    all.count(
        "master/slaves_inactive",
        connected().count() + away - active,
    );
    all.count("master/slaves_connected", connected().count());
    all.count("master/slaves_disconnected", away);
    all.count("master/slaves_unreachable", unreachable.count());
}

fn frameworks(view: &View, all: &mut Numbers) {
    let living = || view.frameworks.values().filter(|one| !one.is_completed());
    let is_there = |one: &&std::sync::Arc<Framework>| one.link().is_some();
    let (active, known) = (living().filter(is_there).count(), living().count());
    // One that is connected is active: there is no state between.
    for (name, count) in [
        ("master/frameworks_active", active),
        ("master/frameworks_connected", active),
        ("master/frameworks_inactive", known - active),
        ("master/frameworks_disconnected", known - active),
    ] {
        all.count(name, count);
    }
}

/// Those that live by the state they are in; of those that are over, how many have ended so since this master took over.
fn tasks(view: &View, all: &mut Numbers) {
    let name = |state: TaskState| {
        let word = state.as_str().trim_start_matches("TASK_");
        format!("master/tasks_{}", word.to_ascii_lowercase())
    };
    for state in TaskState::ALL {
        all.set(&name(state), 0.0);
    }
    let living = view.tasks.values().filter(|task| task.holds_resources());
    for task in living {
        *all.0.entry(name(task.state)).or_default() += 1.0;
    }
    for ((state, source, reason), count) in &view.counters.tasks_ended {
        let count = *count as f64;
        *all.0.entry(name(*state)).or_default() += count;
        let Some(reason) = reason else {
            continue;
        };
        let word = state.as_str().to_ascii_lowercase();
        let (source, reason) = (source.as_str(), reason.as_str());
        let name = format!(
            "master/{word}/{}/{}",
            source.to_ascii_lowercase(),
            reason.to_ascii_lowercase()
        );
        *all.0.entry(name).or_default() += count;
    }
}

/// Of connected agents, and what tasks and executors on them use.
fn resources(view: &View, all: &mut Numbers) {
    let is_there = |agent: &mete_model::AgentId| {
        let agent = view.agents.get(agent);
        agent.is_some_and(|agent| agent.link().is_some())
    };
    let (mut total, mut used) = (Resources::none(), Resources::none());
    for agent in view.agents.values().filter(|agent| agent.link().is_some()) {
        total.add(&agent.info.resources);
    }
    let live = view.tasks.values().filter(|task| task.holds_resources());
    for task in live.filter(|task| is_there(&task.agent)) {
        used.add(&task.spec.resources);
    }
    for (key, executor) in view.executors.iter() {
        if is_there(&key.agent) {
            used.add(&executor.spec.resources);
        }
    }
    let (total, used) = (total.in_units(), used.in_units());
    for ((name, total), (_, used)) in total.into_iter().zip(used) {
        let share = if total > 0.0 { used / total } else { 0.0 };
        all.set(&format!("master/{name}_total"), total);
        all.set(&format!("master/{name}_used"), used);
        all.set(&format!("master/{name}_percent"), share);
        for kind in ["total", "used", "percent"] {
            all.set(&format!("master/{name}_revocable_{kind}"), 0.0);
        }
    }
}

fn counters(counters: &Counters, all: &mut Numbers) {
    for (name, count) in [
        ("master/slave_registrations", counters.agent_registrations),
        ("master/slave_reregistrations", counters.agent_returns),
        (
            "master/slave_unreachable_completed",
            counters.agents_unreachable,
        ),
        (
            "master/slave_unreachable_scheduled",
            counters.agents_unreachable,
        ),
        ("master/slave_removals", counters.agents_unreachable),
        ("master/valid_status_updates", counters.updates_received),
        ("master/messages_status_update", counters.updates_received),
        ("master/dropped_messages", counters.stale_messages),
        (
            "master/valid_status_update_acknowledgements",
            counters.acknowledgements,
        ),
        (
            "master/invalid_status_update_acknowledgements",
            counters.acknowledgements_invalid,
        ),
        ("master/messages_kill_task", counters.kills),
        ("master/messages_reconcile_tasks", counters.reconciliations),
        ("master/messages_launch_tasks", counters.tasks_launched),
        ("master/messages_decline_offers", counters.offers_declined),
        ("allocator/mesos/allocation_runs", counters.rounds),
    ] {
        all.set(name, count as f64);
    }
}
