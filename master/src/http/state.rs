//! `/state` as Mesos' operators and tools know it: names, nesting and units are those of its legacy endpoint.

pub(super) mod lists; // parts of it: `/slaves`, `/frameworks`, `/tasks`, `/state-summary`
mod parts; // the parts of a large answer, one after the other
pub(super) mod shapes; // the JSON

use std::sync::Arc;

use mete_daemon::mesos_http;
use mete_master_core::{Agent, Framework, Life, Reach, Task, View};
use mete_model::{AttributeValue, Capability, Offer, TaskState, TaskStatus, Timestamp};
use serde_json::Value;

use self::parts::Parts;
use self::shapes::{
    AgentShape, ContainerStatusShape, ExecutorShape, FrameworkShape, LabelShape, LeaderShape,
    OfferShape, RecoveredShape, ReportsShape, ResourcesShape, SaidOfExecutor, StateShape,
    StatusShape, TaskShape, UnreachableShape,
};
use crate::draining::drain_info;
use crate::grpc::About;
use crate::sums::Sums;
use mete_proto::MESOS_VERSION;
use mete_proto::capabilities::{AGENT_CAPABILITIES, MASTER_CAPABILITIES};
use mete_proto::convert::said::Said;
use mete_proto::mesos::v1 as wire;

/// Writes the whole state.
///
/// # Errors
/// When it cannot be written as JSON, which plain structs always can.
pub(super) fn write(view: &View, about: &About) -> Result<Vec<u8>, serde_json::Error> {
    let sums = Sums::of(view);
    let mut state = Parts::new(&sums);
    state.open(&about_cluster(view, about))?;
    state.text(",\"slaves\":[");
    let here = view.agents.values().filter(|agent| agent.is_admitted());
    here.for_each(|agent| state.agent(agent));
    state.text("],\"recovered_slaves\":");
    state.shape(&recovered(view.agents.values().map(Arc::as_ref)))?;
    state.text(",\"unreachable_agents\":");
    state.shape(&unreachable(view.agents.values().map(Arc::as_ref)))?;
    state.text(",");
    frameworks(&mut state, view, |_| true)?;
    state.text(",\"orphan_tasks\":[],\"unregistered_frameworks\":[]}");
    state.write()
}

/// Those that are over apart, as two fields of an object.
fn frameworks<'a>(
    parts: &mut Parts<'a>,
    view: &'a View,
    is_meant: impl Fn(&Framework) -> bool,
) -> Result<(), serde_json::Error> {
    let known = view.frameworks.values().map(Arc::as_ref);
    let (over, living): (Vec<&Framework>, Vec<_>) = known
        .filter(|framework| is_meant(framework))
        .partition(|framework| framework.is_completed());
    for (name, list) in [
        ("\"frameworks\":[", living),
        (",\"completed_frameworks\":[", over),
    ] {
        parts.text(name);
        for (at, framework) in list.into_iter().enumerate() {
            if at > 0 {
                parts.text(",");
            }
            whole_framework(parts, framework, view)?;
        }
        parts.text("]");
    }
    Ok(())
}

/// A framework with all that is known of its tasks.
fn whole_framework<'a>(
    parts: &mut Parts<'a>,
    framework: &'a Framework,
    view: &'a View,
) -> Result<(), serde_json::Error> {
    let user = &framework.info.user;
    let its = view.tasks_of(&framework.id).map(Arc::as_ref);
    let (unreachable, tasks): (Vec<&Task>, Vec<_>) =
        its.partition(|task| task.state == TaskState::Unreachable);
    parts.open(&framework_shape(framework, parts.sums()))?;
    parts.text(",\"tasks\":[");
    tasks.into_iter().for_each(|task| parts.task(task, user));
    parts.text("],\"unreachable_tasks\":[");
    let unreachable = unreachable.into_iter();
    unreachable.for_each(|task| parts.task(task, user));
    parts.text("],\"completed_tasks\":[");
    let completed = view.ended_tasks_of(&framework.id);
    completed.for_each(|task| parts.task(task, user));
    parts.text("],\"offers\":");
    let offers = parts.sums().offers_to(&framework.id).map(offer_shape);
    parts.shape(&offers.collect::<Vec<_>>())?;
    parts.text(",\"executors\":");
    parts.shape(&executors_of(framework, view))?;
    parts.text("}");
    Ok(())
}

/// Agents that are not back after a restart of the master.
fn recovered<'a>(known: impl Iterator<Item = &'a Agent>) -> Vec<RecoveredShape<'a>> {
    let away = known.filter(|agent| matches!(agent.reach, Reach::Recovered { .. }));
    away.map(|agent| RecoveredShape {
        id: agent.id.as_str(),
        hostname: &agent.info.endpoint.hostname,
        port: agent.info.endpoint.port,
    })
    .collect()
}

/// Agents that are not heard of and may come back; Mesos tells how many there are, and not which.
fn unreachable<'a>(known: impl Iterator<Item = &'a Agent>) -> Vec<UnreachableShape<'a>> {
    let away = known.filter_map(|agent| match agent.reach {
        Reach::Unreachable { since } if !agent.is_gone() => Some(UnreachableShape {
            id: agent.id.as_str(),
            hostname: &agent.info.endpoint.hostname,
            port: agent.info.endpoint.port,
            unreachable_time: since.as_secs_f64(),
        }),
        Reach::Unreachable { .. }
        | Reach::Recovered { .. }
        | Reach::Registered { .. }
        | Reach::Disconnected { .. } => None,
    });
    away.collect()
}

fn about_cluster<'a>(view: &View, about: &'a About) -> StateShape<'a> {
    let pid = format!("master@{}", about.address);
    let count = |is_so: fn(&Agent) -> bool| {
        let known = view.agents.values();
        known.filter(|agent| is_so(agent)).count()
    };
    StateShape {
        version: MESOS_VERSION,
        mete_version: env!("CARGO_PKG_VERSION"),
        built: mesos_http::built(),
        id: &about.settings.incarnation,
        start_time: view.started.as_secs_f64(),
        elected_time: view.started.as_secs_f64(),
        hostname: &about.hostname,
        cluster: &about.cluster,
        leader: pid.clone(),
        leader_info: LeaderShape {
            id: &about.settings.incarnation,
            pid: pid.clone(),
            port: about.address.port(),
            hostname: &about.hostname,
        },
        pid,
        activated_slaves: count(Agent::is_offerable),
        flags: &about.flags,
        deactivated_slaves: count(|agent| {
            agent.is_admitted() && agent.link().is_some() && !agent.is_offerable()
        }),
        unreachable_slaves: count(|agent| {
            matches!(agent.reach, Reach::Unreachable { .. }) && !agent.is_gone()
        }),
        capabilities: MASTER_CAPABILITIES,
    }
}

fn agent_shape<'a>(agent: &'a Agent, sums: &Sums<'a>) -> AgentShape<'a> {
    let total = &agent.info.resources;
    let reserved = total.by_role();
    let unreserved = total.unreserved();
    let endpoint = &agent.info.endpoint;
    let attributes = agent.info.attributes.iter();
    let deadline = agent.drain().and_then(|drain| drain.deadline());
    AgentShape {
        id: agent.id.as_str(),
        hostname: &endpoint.hostname,
        port: endpoint.port,
        pid: format!("slave(1)@{}", endpoint.address()),
        attributes: attributes
            .map(|(name, value)| (name, attribute(value)))
            .collect(),
        registered_time: agent.registered_at.as_secs_f64(),
        reregistered_time: agent.reregistered_at.map(Timestamp::as_secs_f64),
        resources: ResourcesShape::of(total),
        used_resources: ResourcesShape::of(&sums.used_on(&agent.id).together()),
        offered_resources: ResourcesShape::of(&sums.offered_on(&agent.id).together()),
        reserved_resources: reserved
            .iter()
            .map(|(role, kept)| (role.to_string(), ResourcesShape::of(kept)))
            .collect(),
        reserved_resources_full: reserved
            .iter()
            .map(|(role, kept)| (role.to_string(), shapes::full(kept)))
            .collect(),
        unreserved_resources: ResourcesShape::of(&unreserved),
        unreserved_resources_full: shapes::full(&unreserved),
        used_resources_full: None,
        offered_resources_full: None,
        active: agent.is_offerable(),
        deactivated: agent.link().is_some() && !agent.is_offerable(),
        admission: agent.admission.as_str(),
        drain_info: drain_info(agent).as_ref().map(shapes::message),
        estimated_drain_start_time_seconds: agent
            .drain_began()
            .map(|began| began.as_secs_f64().trunc()),
        drain_deadline_seconds: deadline.map(Timestamp::as_secs_f64),
        version: MESOS_VERSION,
        mete_version: &agent.version,
        capabilities: AGENT_CAPABILITIES.map(|can| can.as_str_name()),
        domain: agent.info.domain.as_ref().map(shapes::domain),
    }
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Scalar(milli) => Value::from(*milli as f64 / 1e3),
        AttributeValue::Ranges(_) | AttributeValue::Text(_) => Value::from(value.to_string()),
    }
}

/// A framework without what it has.
fn framework_shape<'a>(framework: &'a Framework, sums: &Sums<'a>) -> FrameworkShape<'a> {
    let info = &framework.info;
    let (recovered, unregistered) = match framework.life {
        Life::Active { .. } => (false, None),
        Life::Disconnected { recovered, .. } => (recovered, None),
        Life::Completed { at } => (false, Some(at)),
    };
    let (used, offered) = (
        sums.used_by(&framework.id).together(),
        sums.offered_to(&framework.id).together(),
    );
    // As in Mesos: one that holds several roles has a list, another one its role.
    let single = !info.can(Capability::MultiRole);
    let mut roles = info.roles.iter().map(mete_model::Role::as_str);
    FrameworkShape {
        id: framework.id.as_str(),
        name: &info.name,
        user: &info.user,
        hostname: &info.hostname,
        webui_url: info.webui_url.as_deref().unwrap_or_default(),
        principal: info.principal.as_deref(),
        role: single.then(|| roles.next().unwrap_or("*")),
        roles: (!single).then(|| roles.collect()),
        labels: shapes::labels_of(info),
        offer_constraints: shapes::offer_constraints(framework),
        capabilities: info.capabilities.iter().map(|can| can.as_str()).collect(),
        failover_timeout: info.failover_timeout.as_secs_f64(),
        checkpoint: framework.checkpoint,
        active: framework.link().is_some(),
        connected: framework.link().is_some(),
        recovered,
        registered_time: framework.registered_at.as_secs_f64(),
        reregistered_time: framework.reregistered_at.map(Timestamp::as_secs_f64),
        unregistered_time: unregistered.map_or(0.0, Timestamp::as_secs_f64),
        used_resources: ResourcesShape::of(&used),
        offered_resources: ResourcesShape::of(&offered),
        resources: ResourcesShape::of(&used.plus(&offered)),
    }
}

/// Those that look after groups of tasks; a task that came alone has none that anybody sees.
fn executors_of<'a>(framework: &Framework, view: &'a View) -> Vec<ExecutorShape<'a>> {
    let all = view.executors.iter();
    let its = all.filter(|(key, _)| key.framework == framework.id);
    its.map(|(key, executor)| ExecutorShape {
        executor_id: key.executor.as_str(),
        name: &executor.spec.name,
        framework_id: key.framework.as_str(),
        slave_id: key.agent.as_str(),
        role: executor.role.as_str(),
        resources: ResourcesShape::of(&executor.spec.resources),
        said: SaidOfExecutor::of(&executor.spec),
    })
    .collect()
}

fn offer_shape(offer: &Offer) -> OfferShape<'_> {
    OfferShape {
        id: offer.id.as_str(),
        framework_id: offer.framework.as_str(),
        slave_id: offer.agent.as_str(),
        role: offer.role.as_str(),
        resources: ResourcesShape::of(&offer.resources),
    }
}

fn task_shape<'a>(task: &'a Task, framework_user: &'a str) -> TaskShape<'a> {
    let said = Said::of(&task.spec.original);
    TaskShape {
        id: task.key.task.as_str(),
        name: said.name,
        framework_id: task.key.framework.as_str(),
        executor_id: task.executor.as_ref().map_or("", |id| id.as_str()),
        slave_id: task.agent.as_str(),
        state: task.state.as_str(),
        resources: ResourcesShape::of(&task.spec.resources),
        limits: shapes::limits(&said.limits()),
        role: task.role.as_str(),
        user: said
            .user
            .or(Some(framework_user))
            .filter(|user| !user.is_empty()),
        labels: said.labels().map(LabelShape::of).collect(),
        statuses: ReportsShape(task),
        discovery: said.discovery().as_ref().map(shapes::message),
        container: said.container().as_ref().map(shapes::message),
        health_check: said.health_check().as_ref().map(shapes::message),
    }
}

fn status_shape(status: &TaskStatus) -> StatusShape<'_> {
    // Labels, and what networks are called, stand in its message.
    let said = status
        .original
        .is_some()
        .then(|| wire::TaskStatus::from(status));
    let (container_status, labels) = match &said {
        Some(said) => (
            ContainerStatusShape::as_said(said),
            said.labels.as_ref().map(shapes::label_list),
        ),
        None => (ContainerStatusShape::of(status), None),
    };
    StatusShape {
        state: status.state.as_str(),
        timestamp: status.timestamp.as_secs_f64(),
        healthy: status.healthy,
        labels,
        container_status,
    }
}
