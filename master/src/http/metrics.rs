//! The view as numbers, read when they are asked for, so that nobody has to keep them in step. Names follow those of
//! Mesos, with labels where Mesos has one name per value.

mod allocation; // roles, who sits on offers, which agents may be used

use std::collections::BTreeMap;
use std::fmt;

use mete_daemon::clock;
use mete_daemon::event_loop::Handle;
use mete_master_core::{Counters, Life, Reach, View};
use mete_model::{Resources, TaskState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::rounds::Timed;

/// All of `mete_master_…`.
pub(crate) fn register(registry: &mut Registry, handle: Handle<Timed>) {
    registry.register_collector(Box::new(Standing(handle)));
}

/// The view, as numbers.
#[derive(Debug)]
struct Standing(Handle<Timed>);

impl Collector for Standing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = self.0.view();
        plain(&mut encoder, &view)?;
        by_state(&mut encoder, &view)?;
        resources(&mut encoder, &view)?;
        ended(&mut encoder, &view.counters)?;
        heard(&mut encoder, &view.counters)?;
        allocation::encode(&mut encoder, &view, clock::now())?;
        for (name, help, value) in counters(&view.counters) {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

fn plain(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let uptime = clock::now().since(view.started).as_secs_f64();
    for (name, help, value) in [
        ("mete_master_elected", "Whether this master decides", 1.0),
        (
            "mete_master_uptime_seconds",
            "Since this master took over",
            uptime,
        ),
        (
            "mete_master_epoch",
            "Counts up with each master",
            view.settings.epoch as f64,
        ),
        (
            "mete_master_outstanding_offers",
            "Offers on the table",
            view.offers.len() as f64,
        ),
    ] {
        number(encoder, name, help, value)?;
    }
    Ok(())
}

fn number(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn by_state(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let mut agents = BTreeMap::from_iter(
        [
            "registered",
            "disconnected",
            "recovered",
            "unreachable",
            "gone",
        ]
        .map(|state| (state, 0)),
    );
    for agent in view.agents.values() {
        let state = match agent.reach {
            _ if agent.is_gone() => "gone",
            Reach::Registered { .. } => "registered",
            Reach::Disconnected { .. } => "disconnected",
            Reach::Recovered { .. } => "recovered",
            Reach::Unreachable { .. } => "unreachable",
        };
        *agents.entry(state).or_insert(0_i64) += 1;
    }
    family(
        encoder,
        "mete_master_agents",
        "Agents by state",
        "state",
        agents,
    )?;

    let mut frameworks =
        BTreeMap::from_iter(["active", "disconnected", "completed"].map(|state| (state, 0)));
    for framework in view.frameworks.values() {
        let state = match framework.life {
            Life::Active { .. } => "active",
            Life::Disconnected { .. } => "disconnected",
            Life::Completed { .. } => "completed",
        };
        *frameworks.entry(state).or_insert(0_i64) += 1;
    }
    family(
        encoder,
        "mete_master_frameworks",
        "Frameworks by state",
        "state",
        frameworks,
    )?;

    let mut tasks = BTreeMap::from_iter(TaskState::ALL.map(|state| (state.as_str(), 0)));
    for task in view.tasks.values() {
        *tasks.entry(task.state.as_str()).or_insert(0_i64) += 1;
    }
    let help = "Tasks by state, until their last update is acknowledged";
    family(encoder, "mete_master_tasks", help, "state", tasks)
}

/// Of connected agents; memory and disk in MB as in Mesos.
fn resources(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let (mut total, mut used, mut offered) =
        (Scalars::default(), Scalars::default(), Scalars::default());
    for agent in view.agents.values().filter(|agent| agent.link().is_some()) {
        total.add(&agent.info.resources);
    }
    for task in view.tasks.values() {
        let reachable = view
            .agents
            .get(&task.agent)
            .is_some_and(|agent| agent.link().is_some());
        if reachable && task.holds_resources() {
            used.add(&task.spec.resources);
        }
    }
    view.offers
        .values()
        .for_each(|offer| offered.add(&offer.resources));
    for (name, help, scalars) in [
        (
            "mete_master_resources",
            "What connected agents have; mem and disk in MB",
            total,
        ),
        (
            "mete_master_resources_used",
            "What tasks on connected agents use; mem and disk in MB",
            used,
        ),
        (
            "mete_master_resources_offered",
            "What is on the table; mem and disk in MB",
            offered,
        ),
    ] {
        family(encoder, name, help, "resource", scalars.0)?;
    }
    Ok(())
}

/// Sums by name. Ports do not add up over agents and are left out.
#[derive(Default)]
struct Scalars(BTreeMap<String, f64>);

impl Scalars {
    fn add(&mut self, resources: &Resources) {
        let resources = resources.flat();
        let main = resources.in_units().into_iter();
        for (name, amount) in main.chain(resources.others_in_units()) {
            *self.0.entry(name.to_owned()).or_insert(0.0) += amount;
        }
    }
}

fn ended(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
    let counter = ConstCounter::new(0_u64);
    let (name, help) = (
        "mete_master_tasks_ended",
        "Ends of tasks, by state, who said so, and why",
    );
    let mut family = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    for ((state, source, reason), count) in &counters.tasks_ended {
        let labels = [
            ("state", state.as_str()),
            ("source", source.as_str()),
            ("reason", reason.map_or("", mete_model::Reason::as_str)),
        ];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn heard(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
    let counter = ConstCounter::new(0_u64);
    let (name, help) = (
        "mete_master_messages",
        "Messages and calls of agents and frameworks, by kind",
    );
    let mut family = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    for (message, count) in &counters.messages {
        let labels = [("message", *message)];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn family<K: AsRef<str>, N: prometheus_client::encoding::EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: BTreeMap<K, N>,
) -> fmt::Result {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (key, value) in values {
        let labels = [(label, key.as_ref())];
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

type Row = (&'static str, &'static str, u64);

/// Name and help of each counter: written in the file that shows it.
macro_rules! counters {
    ($($field:ident: $name:literal, $help:literal;)*) => {
        const fn counters(counters: &Counters) -> [Row; [$($name),*].len()] {
            [$(($name, $help, counters.$field)),*]
        }
    };
}

counters! {
    agent_registrations: "mete_master_agent_registrations", "Agents that came for the first time";
    agent_returns: "mete_master_agent_reregistrations", "Agents that came back";
    agents_refused: "mete_master_agents_refused", "Agents that were not let in";
    agent_disconnects: "mete_master_agent_disconnects", "Streams of agents that broke";
    agents_unreachable: "mete_master_agents_made_unreachable", "Agents marked unreachable";
    agents_not_back: "mete_master_agents_not_back", "Agents that this master never saw and marked unreachable";
    pings_missed: "mete_master_agent_pings_missed", "Pings not answered in time";
    subscriptions: "mete_master_framework_subscriptions", "Subscriptions granted";
    subscriptions_refused: "mete_master_framework_subscriptions_refused", "Subscriptions refused";
    failovers: "mete_master_framework_failovers", "Subscriptions that took over a live stream";
    frameworks_removed: "mete_master_frameworks_removed", "Frameworks torn down or away for too long";
    rounds: "mete_master_allocation_runs", "Rounds of allocation";
    offers_made: "mete_master_offers_made", "Offers made";
    offers_accepted: "mete_master_offers_accepted", "Offers used";
    offers_declined: "mete_master_offers_declined", "Offers handed back";
    offers_rescinded: "mete_master_offers_rescinded", "Offers withdrawn";
    offers_timed_out: "mete_master_offers_timed_out", "Offers withdrawn because nobody answered";
    inverse_offers_made: "mete_master_inverse_offers_made", "Inverse offers made";
    inverse_offers_accepted: "mete_master_inverse_offers_accepted", "Inverse offers accepted";
    inverse_offers_declined: "mete_master_inverse_offers_declined", "Inverse offers declined";
    accepts_refused: "mete_master_accepts_refused", "ACCEPTs whose offers were no good";
    tasks_launched: "mete_master_tasks_launched", "Tasks sent to agents";
    operations: "mete_master_operations", "Reservations and volumes made and ended";
    operations_dropped: "mete_master_operations_dropped", "Operations that cannot be or are not carried yet";
    calls_ignored: "mete_master_calls_ignored", "Calls without effect";
    calls_refused: "mete_master_calls_refused", "Calls answered with an ERROR";
    stale_messages: "mete_master_stale_messages", "Messages of streams that were replaced";
    updates_received: "mete_master_status_updates", "Updates from agents";
    updates_dropped: "mete_master_status_updates_dropped", "Updates nobody could be told";
    acknowledgements: "mete_master_status_acknowledgements", "Acknowledgements passed down";
    acknowledgements_invalid: "mete_master_invalid_status_acknowledgements", "Acknowledgements that could not be passed down";
    messages_to_executors: "mete_master_messages_to_executors", "Messages to executors passed down";
    messages_to_executors_dropped: "mete_master_messages_to_executors_dropped", "Messages to executors whose agent is not there";
    messages_of_executors: "mete_master_messages_of_executors", "Messages of executors passed up";
    messages_of_executors_dropped: "mete_master_messages_of_executors_dropped", "Messages of executors whose framework is not there";
    operation_acknowledgements: "mete_master_operation_acknowledgements", "Acknowledgements of operations";
    operation_acknowledgements_invalid: "mete_master_invalid_operation_acknowledgements", "Acknowledgements of operations that wait for none";
    kills: "mete_master_kill_calls", "KILL calls";
    reconciliations: "mete_master_reconcile_calls", "RECONCILE calls";
}
