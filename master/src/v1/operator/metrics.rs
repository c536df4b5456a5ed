//! The cluster as numbers in the names of Mesos, so that dashboards and exporters made for it keep working: GET_METRICS and
//! `/metrics/snapshot`. All of Mesos' names are there; what cannot happen here is 0.

use std::collections::BTreeMap;
use std::fs;

use axum::Json;
use axum::extract::State;
use mete_daemon::aside;
use mete_daemon::clock;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http::Numbers;
use mete_daemon::recent::Spread;
use mete_master_core::{Counters, Framework, Reach, View};
use mete_model::{FrameworkId, Resources, TaskState};

use super::Door;
use crate::amounts;

/// Messages that Mesos counts and nobody sends here: frameworks leave or stay, agents say all at once when they come, the
/// master itself does operations, and who calls shows who it is with each call.
const UNHEARD: [&str; 5] = [
    "master/messages_deactivate_framework",
    "master/messages_unregister_slave",
    "master/messages_update_slave",
    "master/messages_operation_status_update",
    "master/messages_authenticate",
];

/// Those that are heard.
const HEARD: [&str; 19] = [
    "decline_offers",
    "executor_to_framework",
    "exited_executor",
    "framework_to_executor",
    "kill_task",
    "launch_tasks",
    "operation_status_update_acknowledgement",
    "reconcile_operations",
    "reconcile_tasks",
    "register_framework",
    "register_slave",
    "reregister_framework",
    "reregister_slave",
    "resource_request",
    "revive_offers",
    "status_update",
    "status_update_acknowledgement",
    "suppress_offers",
    "unregister_framework",
];

/// What does not happen here: all that is told lies in one queue, that of messages; a round of allocation is a part of the
/// decision that made it necessary; an agent that is silent for too long is not spared; an answer is made for one reader;
/// agents' operations are the master's.
const NEVER: [&str; 13] = [
    "allocator/mesos/event_queue_dispatches",
    "master/event_queue_dispatches",
    "master/event_queue_http_requests",
    "master/http_cache_hits",
    "master/invalid_operation_status_updates",
    "master/slave_removals/reason_registered",
    "master/slave_removals/reason_unregistered",
    "master/slave_shutdowns_canceled",
    "master/slave_shutdowns_completed",
    "master/slave_shutdowns_scheduled",
    "master/slave_unreachable_canceled",
    "master/valid_operation_status_updates",
    "registrar/queued_operations",
];

/// Numbers that the view does not have.
struct Measured {
    waiting: usize,
    readers: usize,
    commits: Spread,
    rounds: Spread,
}

/// `GET /metrics/snapshot`
pub(super) async fn page(
    State(door): State<Door>,
) -> Result<Json<BTreeMap<String, f64>>, HttpError> {
    let view = door.desk.handle.view();
    Ok(Json(aside::run(move || snapshot(&view, &door)).await?))
}

/// Everything, by name. Amounts of memory and disk are in MB. Blocks.
pub(super) fn snapshot(view: &View, door: &Door) -> BTreeMap<String, f64> {
    let measured = Measured {
        waiting: door.desk.handle.waiting(),
        readers: door.watchers.count(),
        commits: door.desk.handle.commits(),
        rounds: door.desk.rounds.spread(),
    };
    let mut all = Numbers::of_the_machine();
    all.zeros(NEVER.into_iter().chain(UNHEARD));
    all.set("master/elected", 1.0);
    let uptime = clock::now().since(view.started).as_secs_f64();
    all.set("master/uptime_secs", uptime);
    all.count("master/outstanding_offers", view.offers.len());
    all.count("master/event_queue_messages", measured.waiting);
    all.count("master/operator_event_stream_subscribers", measured.readers);
    registrar(door, &measured.commits, &mut all);
    agents(view, &mut all);
    frameworks(view, &mut all);
    tasks(view, &mut all);
    resources(view, &mut all);
    allocator(view, &measured.rounds, &mut all);
    counters(&view.counters, &mut all);
    all.into_map()
}

/// One store, read once, and written with every batch of decisions that have to last.
fn registrar(door: &Door, commits: &Spread, all: &mut Numbers) {
    let store = &door.desk.store;
    let fetched = store.read_within.as_secs_f64() * 1e3;
    all.set("registrar/state_fetch_ms", fetched);
    if let Ok(file) = fs::metadata(&store.path) {
        all.set("registrar/registry_size_bytes", file.len() as f64);
    }
    all.times("registrar/state_store_ms", commits);
    all.set("registrar/log/recovered", 1.0);
    all.set("registrar/log/ensemble_size", 1.0);
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
    for framework in living() {
        let prefix = of_framework(framework);
        let subscribed = framework.link().is_some();
        all.count(format!("{prefix}subscribed"), usize::from(subscribed));
        for role in &framework.info.roles {
            let suppressed = framework.suppressed.contains(role);
            let name = format!("{prefix}roles/{role}/suppressed");
            all.count(name, usize::from(suppressed));
        }
    }
}

/// `master/frameworks/NAME/ID/`, the name as in a URL.
fn of_framework(framework: &Framework) -> String {
    let name = framework.info.name.as_bytes();
    let name: String = form_urlencoded::byte_serialize(name).collect();
    let name = name.replace('+', "%20");
    format!("master/frameworks/{name}/{}/", framework.id)
}

/// Those that live by the state they are in; of those that are over, how many have ended so since this master took over.
fn tasks(view: &View, all: &mut Numbers) {
    let name = |state: TaskState| {
        let word = state.as_str().trim_start_matches("TASK_");
        format!("master/tasks_{}", word.to_ascii_lowercase())
    };
    for state in TaskState::ALL {
        all.set(name(state), 0.0);
    }
    let living = view.tasks.values().filter(|task| task.holds_resources());
    let mut tally: BTreeMap<(&FrameworkId, TaskState), usize> = BTreeMap::new();
    for task in living {
        *tally.entry((&task.key.framework, task.state)).or_default() += 1;
    }
    for ((framework, state), count) in tally {
        let count = count as f64;
        all.add(name(state), count);
        if let Some(framework) = view.frameworks.get(framework)
            && !framework.is_completed()
        {
            let state = state.as_str().to_ascii_lowercase();
            let prefix = of_framework(framework);
            all.add(format!("{prefix}tasks/active/{state}"), count);
        }
    }
    for ((state, source, reason), count) in &view.counters.tasks_ended {
        let count = *count as f64;
        all.add(name(*state), count);
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
        all.add(name, count);
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
    let mut taken = used.clone();
    for offer in view.offers.values() {
        taken.add(&offer.resources);
    }
    all.shares("master", &total, &used);
    for ((name, total), (_, taken)) in total.in_units().into_iter().zip(taken.in_units()) {
        let prefix = format!("allocator/mesos/resources/{name}");
        all.set(format!("{prefix}/total"), total);
        all.set(format!("{prefix}/offered_or_allocated"), taken);
    }
}

/// Rounds, and what roles have of their quotas.
fn allocator(view: &View, rounds: &Spread, all: &mut Numbers) {
    all.times("allocator/mesos/allocation_run_ms", rounds);
    let at_once = Spread::default();
    all.times("allocator/mesos/allocation_run_latency_ms", &at_once);
    if view.limits.is_empty() && view.guarantees.is_empty() {
        return;
    }
    for role in view.roles() {
        let held = role.used.plus(&role.offered).in_units();
        let prefix = format!("allocator/mesos/quota/roles/{}/resources", role.role);
        for (kind, stated) in [("limit", &role.limit), ("guarantee", &role.guarantee)] {
            let stated = stated.as_ref().map(amounts::to_json).unwrap_or_default();
            for (name, amount) in stated {
                all.set(format!("{prefix}/{name}/{kind}"), amount);
                let held = held.iter().find(|(other, _)| *other == name);
                if let Some((_, held)) = held {
                    all.set(format!("{prefix}/{name}/offered_or_allocated"), *held);
                }
            }
        }
    }
}

fn counters(counters: &Counters, all: &mut Numbers) {
    for message in HEARD {
        let count = counters.messages.get(message).copied().unwrap_or_default();
        all.set(format!("master/messages_{message}"), count as f64);
    }
    for (name, count) in [
        ("slave_registrations", counters.agent_registrations),
        ("slave_reregistrations", counters.agent_returns),
        ("slave_unreachable_completed", counters.agents_unreachable),
        ("slave_unreachable_scheduled", counters.agents_unreachable),
        ("slave_removals", counters.agents_unreachable),
        (
            "slave_removals/reason_unhealthy",
            counters.agents_unreachable,
        ),
        ("recovery_slave_removals", counters.agents_not_back),
        ("valid_status_updates", counters.updates_received),
        ("invalid_status_updates", counters.updates_dropped),
        ("dropped_messages", counters.stale_messages),
        (
            "valid_status_update_acknowledgements",
            counters.acknowledgements,
        ),
        (
            "invalid_status_update_acknowledgements",
            counters.acknowledgements_invalid,
        ),
        (
            "valid_operation_status_update_acknowledgements",
            counters.operation_acknowledgements,
        ),
        (
            "invalid_operation_status_update_acknowledgements",
            counters.operation_acknowledgements_invalid,
        ),
        (
            "valid_framework_to_executor_messages",
            counters.messages_to_executors,
        ),
        (
            "invalid_framework_to_executor_messages",
            counters.messages_to_executors_dropped,
        ),
        (
            "valid_executor_to_framework_messages",
            counters.messages_of_executors,
        ),
        (
            "invalid_executor_to_framework_messages",
            counters.messages_of_executors_dropped,
        ),
    ] {
        all.set(format!("master/{name}"), count as f64);
    }
    all.set("allocator/mesos/allocation_runs", counters.rounds as f64);
}
