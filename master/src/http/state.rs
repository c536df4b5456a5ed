//! `/state` as Mesos' operators and tools know it: names, nesting and units are those of its legacy endpoint.

pub(super) mod lists; // parts of it: `/slaves`, `/frameworks`, `/tasks`, `/state-summary`
pub(super) mod shapes; // the JSON

use mete_daemon::aside;
use mete_master_core::{Admission, Agent, Framework, Life, Pace, Reach, Task, View};
use mete_model::{AttributeValue, Capability, Offer, TaskState, TaskStatus, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use self::shapes::{
    AgentShape, ExecutorShape, FrameworkShape, LabelShape, LeaderShape, OfferShape, RecoveredShape,
    ResourcesShape, RestShape, StateShape, StatusShape, TaskShape,
};
use super::maintenance::Nanoseconds;
use crate::capabilities::{AGENT_CAPABILITIES, MASTER_CAPABILITIES};
use crate::grpc::About;
use crate::sums::Sums;
use mete_proto::MESOS_VERSION;
use mete_proto::convert::undecided::Undecided;
use mete_proto::mesos::v1 as wire;

/// What a usual task and a usual agent take as JSON: a guess too low costs a copy of megabytes, one too high costs nothing,
/// because memory that nothing is written to is not there.
const TASK_BYTES: usize = 640;
const AGENT_BYTES: usize = 2_048;

/// Writes the whole state: agents and frameworks at the same time.
///
/// # Errors
/// When it cannot be written as JSON, which plain structs always can.
pub(super) fn write(view: &View, about: &About) -> Result<Vec<u8>, serde_json::Error> {
    let tasks = TASK_BYTES * (view.tasks.len() + view.ended_tasks.len());
    let agents = AGENT_BYTES * view.agents.len();
    let sums = Sums::of(view);
    let (rest, state) = aside::both(
        || written(tasks, &rest(view, &sums)),
        || written(agents + tasks, &state(view, about, &sums)),
    );
    let (rest, mut state) = (rest?, state?);
    // One object of the fields of both.
    state.pop();
    state.push(b',');
    state.extend_from_slice(&rest[1..]);
    Ok(state)
}

fn written(likely: usize, shape: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut written = Vec::with_capacity(likely);
    serde_json::to_writer(&mut written, shape)?;
    Ok(written)
}

fn state<'a>(view: &'a View, about: &'a About, sums: &Sums<'a>) -> StateShape<'a> {
    let pid = format!("master@{}", about.address);
    let connected = |agent: &Agent| agent.link().is_some() && !agent.is_gone();
    let known = view.agents.values();
    let mut shape = StateShape {
        version: MESOS_VERSION,
        mete_version: env!("CARGO_PKG_VERSION"),
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
        activated_slaves: known.filter(|agent| agent.is_offerable()).count(),
        flags: &about.flags,
        deactivated_slaves: 0,
        unreachable_slaves: 0,
        capabilities: MASTER_CAPABILITIES,
        slaves: Vec::new(),
        recovered_slaves: Vec::new(),
    };
    for agent in view.agents.values().map(std::sync::Arc::as_ref) {
        match agent.reach {
            Reach::Registered { .. } | Reach::Disconnected { .. } if !agent.is_gone() => {
                if connected(agent) && !agent.is_offerable() {
                    shape.deactivated_slaves += 1;
                }
                shape.slaves.push(agent_shape(agent, sums));
            }
            Reach::Recovered { .. } => shape.recovered_slaves.push(RecoveredShape {
                id: agent.id.as_str(),
                hostname: &agent.info.endpoint.hostname,
                port: agent.info.endpoint.port,
            }),
            Reach::Unreachable { .. } if !agent.is_gone() => shape.unreachable_slaves += 1,
            Reach::Registered { .. } | Reach::Disconnected { .. } | Reach::Unreachable { .. } => {}
        }
    }
    shape
}

fn rest<'a>(view: &'a View, sums: &Sums<'a>) -> RestShape<'a> {
    let mut shape = RestShape::default();
    for framework in view.frameworks.values() {
        let framework_shape = framework_shape(framework, view, sums);
        if framework.is_completed() {
            shape.completed_frameworks.push(framework_shape);
        } else {
            shape.frameworks.push(framework_shape);
        }
    }
    shape
}

fn agent_shape<'a>(agent: &'a Agent, sums: &Sums<'a>) -> AgentShape<'a> {
    let total = &agent.info.resources;
    let reserved = shapes::reserved(total);
    let unreserved = total.clone().only_parts(|tag| tag.role().is_none());
    let endpoint = &agent.info.endpoint;
    let attributes = agent.info.attributes.iter();
    AgentShape {
        id: agent.id.as_str(),
        hostname: &endpoint.hostname,
        port: endpoint.port,
        pid: format!("slave(1)@{}:{}", endpoint.ip, endpoint.port),
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
            .map(|(role, kept)| (role.clone(), ResourcesShape::of(kept)))
            .collect(),
        reserved_resources_full: reserved
            .iter()
            .map(|(role, kept)| (role.clone(), shapes::full(kept)))
            .collect(),
        unreserved_resources: ResourcesShape::of(&unreserved),
        unreserved_resources_full: shapes::full(&unreserved),
        used_resources_full: None,
        offered_resources_full: None,
        active: agent.is_offerable(),
        deactivated: agent.link().is_some() && !agent.is_offerable(),
        admission: agent.admission.as_str(),
        drain_info: drain_info(agent),
        version: MESOS_VERSION,
        mete_version: &agent.version,
        capabilities: AGENT_CAPABILITIES.map(|can| can.as_str_name()),
        domain: agent.info.domain.as_ref().map(shapes::domain),
    }
}

/// How an agent drains, or that it has; the fields of Mesos, and the deadline.
fn drain_info(agent: &Agent) -> Option<Value> {
    match agent.admission {
        Admission::Draining(drain) => {
            let mut config = json!({ "mark_gone": drain.mark_gone });
            let length = |until: Timestamp| json!(Nanoseconds::of(until.since(drain.since)));
            match drain.pace {
                Pace::AtOnce { until: None } => {}
                Pace::AtOnce { until: Some(until) } => config["max_grace_period"] = length(until),
                Pace::Leave { by, max_grace } => {
                    config["deadline"] = length(by);
                    if let Some(most) = max_grace {
                        config["max_grace_period"] = json!(Nanoseconds::of(most));
                    }
                }
            }
            let mut info = json!({ "state": "DRAINING", "config": config });
            info["since"] = json!(drain.since.as_secs_f64());
            if let Some(deadline) = drain.deadline() {
                info["deadline"] = json!(deadline.as_secs_f64());
            }
            Some(info)
        }
        Admission::Drained { max_grace: None } => Some(json!({ "state": "DRAINED", "config": {} })),
        Admission::Drained {
            max_grace: Some(most),
        } => {
            let config = json!({ "max_grace_period": Nanoseconds::of(most) });
            Some(json!({ "state": "DRAINED", "config": config }))
        }
        Admission::Active | Admission::Deactivated | Admission::Gone { .. } => None,
    }
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Scalar(milli) => Value::from(*milli as f64 / 1e3),
        AttributeValue::Ranges(_) | AttributeValue::Text(_) => Value::from(value.to_string()),
    }
}

fn framework_shape<'a>(
    framework: &'a Framework,
    view: &'a View,
    sums: &Sums<'a>,
) -> FrameworkShape<'a> {
    let user = &framework.info.user;
    let (unreachable, tasks) = view
        .tasks_of(&framework.id)
        .map(|task| (task.state, task_shape(task, user)))
        .partition::<Vec<_>, _>(|(state, _)| *state == TaskState::Unreachable);
    let shapes = |tasks: Vec<(TaskState, TaskShape<'a>)>| {
        let shapes = tasks.into_iter().map(|(_, shape)| shape);
        shapes.collect()
    };
    let completed = view.ended_tasks_of(&framework.id);
    FrameworkShape {
        tasks: shapes(tasks),
        unreachable_tasks: shapes(unreachable),
        completed_tasks: completed.map(|task| task_shape(task, user)).collect(),
        offers: sums.offers_to(&framework.id).map(offer_shape).collect(),
        executors: executors_of(framework, view),
        ..framework_alone(framework, sums)
    }
}

/// A framework without what it has.
fn framework_alone<'a>(framework: &'a Framework, sums: &Sums<'a>) -> FrameworkShape<'a> {
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
        tasks: Vec::new(),
        unreachable_tasks: Vec::new(),
        completed_tasks: Vec::new(),
        offers: Vec::new(),
        executors: Vec::new(),
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
        said: shapes::said_of(&executor.spec),
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
    let user = task.spec.command.user.as_deref();
    let said = Undecided::of(&task.spec);
    TaskShape {
        id: task.key.task.as_str(),
        name: &task.spec.name,
        framework_id: task.key.framework.as_str(),
        executor_id: task.executor.as_ref().map_or("", |id| id.as_str()),
        slave_id: task.agent.as_str(),
        state: task.state.as_str(),
        resources: ResourcesShape::of(&task.spec.resources),
        limits: shapes::limits(&task.spec.limits),
        role: task.role.as_str(),
        user: user
            .or(Some(framework_user))
            .filter(|user| !user.is_empty()),
        labels: task.spec.labels.iter().map(label).collect(),
        statuses: task.statuses.iter().map(status_shape).collect(),
        discovery: shapes::discovery(&said),
        container: said.container.as_deref().map(shapes::message),
        health_check: said.health_check.as_deref().map(shapes::message),
    }
}

fn label((key, value): &(String, Option<String>)) -> LabelShape<'_> {
    LabelShape {
        key,
        value: value.as_deref(),
    }
}

fn status_shape(status: &TaskStatus) -> StatusShape<'_> {
    // Labels, and what networks are called, stand in its message.
    let said = status
        .original
        .is_some()
        .then(|| wire::TaskStatus::from(status));
    let (container_status, labels) = match said {
        Some(said) => (
            said.container_status.as_ref().map(shapes::message),
            said.labels.as_ref().map(shapes::label_list),
        ),
        None => (shapes::container_status(status), None),
    };
    StatusShape {
        state: status.state.as_str(),
        timestamp: status.timestamp.as_secs_f64(),
        healthy: status.healthy,
        labels,
        container_status,
    }
}
