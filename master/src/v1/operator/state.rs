//! Agents, frameworks, tasks and executors of a view, as messages: GET_STATE and its parts.

use std::sync::Arc;

use mete_daemon::aside;
use mete_master_core::{Agent, Executor, Framework, Life, Reach, View};
use mete_model::Capability;
use mete_proto::MESOS_VERSION;
use mete_proto::convert::agent::with_resources;
use mete_proto::convert::{offer, offer_constraints, resources, time_info};
use mete_proto::encoded;
use mete_proto::json::number_of;
use mete_proto::mesos::v1 as wire;
use prost::Message as _;
use wire::agent_info::capability::Type as AgentCapability;
use wire::master::response::{GetAgents, GetExecutors, GetFrameworks, GetState};
use wire::master::response::{get_agents, get_executors, get_frameworks};

use crate::draining::drain_info;
use crate::sums::Sums;
use crate::v1::operator::tasks;
use mete_proto::capabilities::AGENT_CAPABILITIES;

/// Everything, written as protobuf, in pieces: the tasks, and all else at the same time.
pub(super) fn all(view: &View) -> Vec<Vec<u8>> {
    const TASKS: u32 = number_of::<GetState>("get_tasks");
    let rest = || {
        let sums = Sums::of(view);
        let rest = GetState {
            get_tasks: None,
            get_executors: Some(executors(view)),
            get_frameworks: Some(frameworks(view, &sums)),
            get_agents: Some(agents(view, &sums)),
        };
        rest.encode_to_vec()
    };
    let (tasks, rest) = aside::both(|| tasks::all(view), rest);
    let mut state = vec![encoded::head_of(TASKS, &tasks)];
    state.extend(tasks);
    state.push(rest);
    state
}

/// Agents that are admitted, and those not yet back since this master took over.
pub(super) fn agents(view: &View, sums: &Sums<'_>) -> GetAgents {
    let mut told = GetAgents::default();
    for agent in view.agents.values() {
        if matches!(agent.reach, Reach::Recovered { .. }) {
            told.recovered_agents.push(agent_info(agent));
        } else if agent.is_admitted() {
            told.agents.push(one_agent(agent, sums));
        }
    }
    told
}

/// An agent, and what of it is used and offered.
pub(super) fn one_agent(agent: &Agent, sums: &Sums<'_>) -> get_agents::Agent {
    let endpoint = &agent.info.endpoint;
    let total = resources::to_endpoints(&agent.info.resources);
    let mut info = with_resources(&agent.info, total.clone());
    info.id = Some((&agent.id).into());
    get_agents::Agent {
        agent_info: info,
        active: agent.is_offerable(),
        deactivated: Some(agent.link().is_some() && !agent.is_offerable()),
        version: MESOS_VERSION.to_owned(),
        pid: Some(format!("slave(1)@{}", endpoint.address())),
        registered_time: Some(time_info(agent.registered_at)),
        reregistered_time: agent.reregistered_at.map(time_info),
        total_resources: total,
        allocated_resources: sums.used_on(&agent.id).to_wire(),
        offered_resources: sums.offered_on(&agent.id).to_wire(),
        capabilities: AGENT_CAPABILITIES.map(capability).into(),
        drain_info: drain_info(agent),
        estimated_drain_start_time: agent.drain_began().map(time_info),
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
    let mut info = wire::FrameworkInfo::from(framework.info.as_ref());
    info.id = Some((&framework.id).into());
    info
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
