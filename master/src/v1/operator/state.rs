//! Agents, frameworks, tasks and executors of a view, as messages: GET_STATE and its parts.

use std::sync::Arc;

use mete_daemon::aside;
use mete_master_core::{Admission, Agent, Executor, Framework, Life, Reach, Task, View};
use mete_model::{Capability, FrameworkId, TaskState};
use mete_proto::MESOS_VERSION;
use mete_proto::convert::undecided::Undecided;
use mete_proto::convert::{
    duration_info, ids, offer, offer_constraints, resources, task, task_limits, time_info,
};
use mete_proto::encoded;
use mete_proto::json::number_of;
use mete_proto::mesos::v1 as wire;
use prost::Message as _;
use wire::agent_info::capability::Type as AgentCapability;
use wire::master::response::{GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks};
use wire::master::response::{get_agents, get_executors, get_frameworks};

use crate::capabilities::AGENT_CAPABILITIES;
use crate::sums::Sums;

/// Everything, written as protobuf, in pieces: the tasks one by one, because all of them at once as messages would be many
/// times as large as what is written; and all else at the same time.
pub(super) fn all(view: &View) -> Vec<Vec<u8>> {
    const TASKS: u32 = number_of::<GetState>("get_tasks");
    let sums = Sums::of(view);
    let rest = || {
        let rest = GetState {
            get_tasks: None,
            get_executors: Some(executors(view)),
            get_frameworks: Some(frameworks(view, &sums)),
            get_agents: Some(agents(view, &sums)),
        };
        rest.encode_to_vec()
    };
    let (tasks, rest) = aside::both(|| tasks(view), rest);
    let mut state = vec![encoded::head_of(TASKS, &tasks)];
    state.extend(tasks);
    state.push(rest);
    state
}

/// Agents that are admitted, and those not yet back since this master took over.
pub(super) fn agents(view: &View, sums: &Sums<'_>) -> GetAgents {
    let mut told = GetAgents::default();
    for agent in view.agents.values() {
        match agent.reach {
            Reach::Recovered { .. } => told.recovered_agents.push(agent_info(agent)),
            Reach::Registered { .. } | Reach::Disconnected { .. } if !agent.is_gone() => {
                told.agents.push(one_agent(agent, sums));
            }
            Reach::Registered { .. } | Reach::Disconnected { .. } | Reach::Unreachable { .. } => {}
        }
    }
    told
}

/// An agent, and what of it is used and offered.
pub(super) fn one_agent(agent: &Agent, sums: &Sums<'_>) -> get_agents::Agent {
    let endpoint = &agent.info.endpoint;
    let mut total = resources::to_wire(&agent.info.resources);
    resources::to_endpoint_form(&mut total);
    let mut info = agent_info(agent);
    info.resources.clone_from(&total);
    get_agents::Agent {
        agent_info: info,
        active: agent.is_offerable(),
        deactivated: Some(agent.link().is_some() && !agent.is_offerable()),
        version: MESOS_VERSION.to_owned(),
        pid: Some(format!("slave(1)@{}:{}", endpoint.ip, endpoint.port)),
        registered_time: Some(time_info(agent.registered_at)),
        reregistered_time: agent.reregistered_at.map(time_info),
        total_resources: total,
        allocated_resources: sums.used_on(&agent.id).to_wire(),
        offered_resources: sums.offered_on(&agent.id).to_wire(),
        capabilities: AGENT_CAPABILITIES.map(capability).into(),
        drain_info: drain_info(agent),
        estimated_drain_start_time: agent.drain().map(|drain| time_info(drain.since)),
        ..get_agents::Agent::default()
    }
}

fn agent_info(agent: &Agent) -> wire::AgentInfo {
    let mut info = wire::AgentInfo::from(&agent.info);
    info.id = Some((&agent.id).into());
    info
}

fn capability(kind: AgentCapability) -> wire::agent_info::Capability {
    wire::agent_info::Capability {
        r#type: Some(kind.into()),
    }
}

/// How an agent drains, or that it has.
fn drain_info(agent: &Agent) -> Option<wire::DrainInfo> {
    let (state, config) = match agent.admission {
        Admission::Draining(drain) => {
            let config = wire::DrainConfig {
                max_grace_period: drain.ordered_grace().map(duration_info),
                mark_gone: Some(drain.mark_gone),
            };
            (wire::DrainState::Draining, config)
        }
        Admission::Drained { max_grace } => {
            let config = wire::DrainConfig {
                max_grace_period: max_grace.map(duration_info),
                ..wire::DrainConfig::default()
            };
            (wire::DrainState::Drained, config)
        }
        Admission::Active | Admission::Deactivated | Admission::Gone { .. } => return None,
    };
    Some(wire::DrainInfo {
        state: state.into(),
        config,
    })
}

/// Frameworks, and those that are over.
pub(super) fn frameworks(view: &View, sums: &Sums<'_>) -> GetFrameworks {
    let mut told = GetFrameworks::default();
    for framework in view.frameworks.values() {
        let one = one_framework(framework, sums);
        match framework.is_completed() {
            true => told.completed_frameworks.push(one),
            false => told.frameworks.push(one),
        }
    }
    told
}

/// A framework, and what it has and is offered.
pub(super) fn one_framework(framework: &Framework, sums: &Sums<'_>) -> get_frameworks::Framework {
    let can: &std::collections::BTreeSet<Capability> = &framework.info.capabilities;
    let offers = sums.offers_to(&framework.id);
    let (recovered, unregistered) = match framework.life {
        Life::Active { .. } => (false, None),
        Life::Disconnected { recovered, .. } => (recovered, None),
        Life::Completed { at } => (false, Some(at)),
    };
    get_frameworks::Framework {
        framework_info: framework_info(framework),
        active: framework.link().is_some(),
        connected: framework.link().is_some(),
        recovered,
        registered_time: Some(time_info(framework.registered_at)),
        reregistered_time: framework.reregistered_at.map(time_info),
        unregistered_time: unregistered.map(time_info),
        offers: offers.map(|one| offer::to_wire(one, can)).collect(),
        allocated_resources: sums.used_by(&framework.id).to_wire(),
        offered_resources: sums.offered_to(&framework.id).to_wire(),
        inverse_offers: sums.inverse_offers_to(&framework.id),
        offer_constraints: offer_constraints::to_wire(&framework.rules.constraints),
    }
}

/// What a framework says of itself, with the id it has.
pub(super) fn framework_info(framework: &Framework) -> wire::FrameworkInfo {
    let mut info = wire::FrameworkInfo::from(&framework.info);
    info.id = Some((&framework.id).into());
    info
}

/// What a usual task takes as protobuf: a guess too low costs a copy of megabytes.
const TASK_BYTES: usize = 512;

/// Tasks, written as protobuf, in pieces: that may run, the last that are over, and whose agents cannot be reached. Those in
/// the view's two halves are written at the same time.
pub(super) fn tasks(view: &View) -> Vec<Vec<u8>> {
    let all: Vec<&Task> = view.tasks.values().map(Arc::as_ref).collect();
    let (first, second) = all.split_at(all.len() / 2);
    let (first, second) = aside::both(|| Told::of(view, first), || Told::of(view, second));
    let ended: Vec<&Task> = view.ended_tasks.values().map(Arc::as_ref).collect();
    let ended = Told::of(view, &ended);
    let over = [first.over, second.over, ended.over];
    let mut pieces = vec![first.may_run, second.may_run];
    pieces.extend(over);
    pieces.extend([first.unreachable, second.unreachable]);
    pieces
}

/// Some tasks, written as they stand in [`GetTasks`].
#[derive(Default)]
struct Told {
    may_run: Vec<u8>,
    over: Vec<u8>,
    unreachable: Vec<u8>,
}

impl Told {
    fn of(view: &View, tasks: &[&Task]) -> Self {
        const MAY_RUN: u32 = number_of::<GetTasks>("tasks");
        const OVER: u32 = number_of::<GetTasks>("completed_tasks");
        const UNREACHABLE: u32 = number_of::<GetTasks>("unreachable_tasks");
        let mut told = Self::default();
        for task in tasks {
            let (number, list) = if task.state == TaskState::Unreachable {
                (UNREACHABLE, &mut told.unreachable)
            } else if task.state.is_terminal() {
                (OVER, &mut told.over)
            } else {
                (MAY_RUN, &mut told.may_run)
            };
            if list.capacity() == 0 {
                list.reserve(tasks.len() * TASK_BYTES);
            }
            encoded::put_message(list, number, &one_task(view, task));
        }
        told
    }
}

/// A task as its framework described it, and what was told of it.
pub(super) fn one_task(view: &View, known: &Task) -> wire::Task {
    let spec = &known.spec;
    let came = Undecided::of(spec);
    let mut held = resources::to_wire(&spec.resources);
    resources::allocate(&mut held, &known.role);
    let unacknowledged = known.unacknowledged.as_ref();
    let latest = known.statuses.last().map(|status| status.state);
    wire::Task {
        name: spec.name.clone(),
        task_id: (&known.key.task).into(),
        framework_id: (&known.key.framework).into(),
        executor_id: known.executor.as_ref().map(Into::into),
        agent_id: (&known.agent).into(),
        state: wire::TaskState::from(known.state).into(),
        resources: held,
        statuses: known.statuses.iter().map(Into::into).collect(),
        status_update_state: unacknowledged
            .map(|(_, state)| *state)
            .or(latest)
            .map(|state| wire::TaskState::from(state).into()),
        status_update_uuid: unacknowledged.map(|(id, _)| ids::uuid(*id)),
        labels: task::labels_to_wire(&spec.labels),
        discovery: came.discovery,
        container: came.container,
        health_check: came.health_check,
        kill_policy: came.kill_policy,
        user: user(view, known),
        limits: task_limits::to_wire(&spec.limits),
    }
}

/// As whom it runs: as its command says, or its framework.
fn user(view: &View, known: &Task) -> Option<String> {
    let own = known.spec.command.user.clone();
    let framework = |id: &FrameworkId| view.frameworks.get(id).map(|one| one.info.user.clone());
    own.or_else(|| framework(&known.key.framework))
        .filter(|user| !user.is_empty())
}

/// Executors of groups; a task that came alone has none that anybody sees.
pub(super) fn executors(view: &View) -> GetExecutors {
    let all = view.executors.iter().map(|(key, executor)| {
        let executor: &Arc<Executor> = executor;
        let mut info = wire::ExecutorInfo::from(executor.spec.as_ref());
        info.framework_id = Some((&key.framework).into());
        get_executors::Executor {
            executor_info: info,
            agent_id: (&key.agent).into(),
        }
    });
    GetExecutors {
        executors: all.collect(),
        ..GetExecutors::default()
    }
}
