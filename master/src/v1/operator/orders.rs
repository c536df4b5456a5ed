//! The calls that change something: what operators want, in words of the core.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_master_core::{
    AgentOperation, Amounts, Input, MachineId, OperationKind, RoleQuota, View, Window,
};
use mete_model::{AgentId, FrameworkId, Resources};
use mete_proto::convert::{ConvertError, Within as _, maintenance, resources};
use mete_proto::mesos::v1 as wire;
use wire::master::call;

use crate::amounts;
use crate::orders::{self, OrderError};
use crate::resize;

/// An agent by its id.
pub(super) fn agent(id: &wire::AgentId) -> Result<AgentId, OrderError> {
    let agent: Result<AgentId, ConvertError> = id.try_into();
    Ok(agent.within("agent_id")?)
}

/// UPDATE_WEIGHTS: all or none.
pub(super) fn weights(update: &call::UpdateWeights) -> Result<Input, OrderError> {
    let mut weights = BTreeMap::new();
    for info in &update.weight_infos {
        let role = orders::role(info.role())?;
        if weights.insert(role, orders::weight(info.weight)?).is_some() {
            let why = format!("role {} stands twice in the list", info.role());
            return Err(OrderError::Bad(why));
        }
    }
    Ok(Input::SetWeights(weights))
}

/// UPDATE_QUOTA: all or none. As in Mesos, what is said last of a role counts.
pub(super) fn quotas(update: &call::UpdateQuota) -> Result<Input, OrderError> {
    let one = |config: &wire::quota::QuotaConfig| {
        let quota = RoleQuota {
            limit: scalars(&config.limits, "limits")?,
            guarantee: scalars(&config.guarantees, "guarantees")?,
        };
        Ok((orders::role(&config.role)?, quota))
    };
    let quotas: Result<_, OrderError> = update.quota_configs.iter().map(one).collect();
    Ok(Input::SetQuotas {
        quotas: quotas?,
        force: update.force(),
    })
}

fn scalars(
    all: &BTreeMap<String, wire::value::Scalar>,
    field: &'static str,
) -> Result<Option<Amounts>, OrderError> {
    let numbers = all
        .iter()
        .map(|(name, scalar)| (name.clone(), scalar.value));
    let read = amounts::from_json(&numbers.collect());
    Ok(amounts::within(read, field)?)
}

/// REMOVE_QUOTA
pub(super) fn no_quota(view: &View, remove: &call::RemoveQuota) -> Result<Input, OrderError> {
    let role = orders::role(&remove.role)?;
    if !orders::has_quota(view, &role) {
        return Err(OrderError::Bad(format!("role {role} has no quota")));
    }
    Ok(RoleQuota::default().for_role(role, false))
}

/// UPDATE_MAINTENANCE_SCHEDULE
pub(super) fn schedule(update: &call::UpdateMaintenanceSchedule) -> Result<Input, OrderError> {
    let one = |window: &wire::maintenance::Window| {
        let unavailability = maintenance::from_wire(&window.unavailability);
        Ok(Window {
            machines: window
                .machine_ids
                .iter()
                .map(machine)
                .collect::<Result<_, _>>()?,
            unavailability: unavailability.within("unavailability")?,
        })
    };
    let windows: Result<_, OrderError> = update.schedule.windows.iter().map(one).collect();
    Ok(Input::SetSchedule(windows?))
}

/// START_MAINTENANCE and STOP_MAINTENANCE
pub(super) fn machines(ids: &[wire::MachineId]) -> Result<BTreeSet<MachineId>, OrderError> {
    if ids.is_empty() {
        return Err(OrderError::Bad("no machine is named".to_owned()));
    }
    ids.iter().map(machine).collect()
}

fn machine(id: &wire::MachineId) -> Result<MachineId, OrderError> {
    orders::machine(id.hostname.clone(), id.ip.clone())
}

/// DRAIN_AGENT
pub(super) fn drain(drain: &call::DrainAgent) -> Result<Input, OrderError> {
    let most = drain.max_grace_period.as_ref();
    Ok(Input::DrainAgent {
        agent: agent(&drain.agent_id)?,
        deadline: None,
        max_grace: most.map(span).transpose()?,
        mark_gone: drain.mark_gone(),
    })
}

fn span(span: &prost_types::Duration) -> Result<Duration, OrderError> {
    let bad = || {
        let (seconds, nanos) = (span.seconds, span.nanos);
        OrderError::Bad(format!(
            "max_grace_period of {seconds} s and {nanos} ns is less than none, or no span at all"
        ))
    };
    let seconds = u64::try_from(span.seconds).map_err(|_| bad())?;
    let nanos = u32::try_from(span.nanos).map_err(|_| bad())?;
    match nanos {
        0..1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(bad()),
    }
}

/// RESERVE_RESOURCES, UNRESERVE_RESOURCES, CREATE_VOLUMES, DESTROY_VOLUMES
pub(super) fn reshape(
    id: &wire::AgentId,
    kind: OperationKind,
    named: &[wire::Resource],
    field: &'static str,
) -> Result<Input, OrderError> {
    let resources = resources::from_wire(named).within(field)?;
    operation(agent(id)?, (kind, resources))
}

/// GROW_VOLUME
pub(super) fn grow(grow: &call::GrowVolume) -> Result<Input, OrderError> {
    let agent = agent_of(grow.agent_id.as_ref(), "grow_volume.agent_id")?;
    let what = resize::grow(&grow.volume, &grow.addition).within("grow_volume")?;
    operation(agent, what)
}

/// SHRINK_VOLUME
pub(super) fn shrink(shrink: &call::ShrinkVolume) -> Result<Input, OrderError> {
    let agent = agent_of(shrink.agent_id.as_ref(), "shrink_volume.agent_id")?;
    let what = resize::shrink(&shrink.volume, &shrink.subtract).within("shrink_volume")?;
    operation(agent, what)
}

/// Optional in the message, for volumes that are on no agent; here all are.
fn agent_of(id: Option<&wire::AgentId>, field: &'static str) -> Result<AgentId, OrderError> {
    agent(id.ok_or_else(|| ConvertError::missing(field))?)
}

fn operation(
    agent: AgentId,
    (kind, resources): (OperationKind, Resources),
) -> Result<Input, OrderError> {
    Ok(Input::ReshapeAgent(Box::new(AgentOperation {
        agent,
        kind,
        resources,
    })))
}

/// TEARDOWN
pub(super) fn teardown(teardown: &call::Teardown) -> Result<Input, OrderError> {
    let framework: Result<FrameworkId, ConvertError> = (&teardown.framework_id).try_into();
    let framework = framework.within("teardown.framework_id")?;
    Ok(Input::TearDown { framework })
}
