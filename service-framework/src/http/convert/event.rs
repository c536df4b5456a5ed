//! What happened, as subscribers of `/v2/events` read it.

use mete_proto::rest::deployments::Step;
use mete_proto::rest::events::{Event as Told, Happening as What};
use mete_proto::rest::tasks::IpAddress;
use mete_service_framework_core::events::{Event, Happening, PodChange, StatusUpdate};
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::deployments::Deployment;

use super::{app, health};
use crate::http::deployments::{plan, step};

/// The event as it is told; `role` is that of the framework.
pub(in crate::http) fn event(event: &Event, role: &str) -> Told {
    Told {
        what: what(&event.what, role),
        timestamp: time::text(event.at),
    }
}

#[expect(clippy::too_many_lines, reason = "one flat match, field by field")]
fn what(happening: &Happening, role: &str) -> What {
    match happening {
        Happening::ApiPost {
            origin,
            app: version,
        } => What::ApiPostEvent {
            client_ip: origin.client_ip.clone(),
            uri: origin.uri.clone(),
            app_definition: Box::new(app(version, role)),
        },
        Happening::PodChanged { origin, change, .. } => {
            let (client_ip, uri) = (origin.client_ip.clone(), origin.uri.clone());
            match change {
                PodChange::Created => What::PodCreatedEvent { client_ip, uri },
                PodChange::Updated => What::PodUpdatedEvent { client_ip, uri },
                PodChange::Deleted => What::PodDeletedEvent { client_ip, uri },
            }
        }
        Happening::StatusUpdate(update) => status(update),
        Happening::InstanceChanged {
            instance,
            condition,
            app,
            version,
            agent,
            host,
        } => What::InstanceChangedEvent {
            instance_id: instance.to_string(),
            condition: (*condition).to_owned(),
            run_spec_id: app.to_string(),
            agent_id: agent.as_ref().map(ToString::to_string),
            host: host.clone(),
            run_spec_version: time::text(*version),
        },
        Happening::InstanceHealthChanged {
            instance,
            app,
            version,
            healthy,
        } => What::InstanceHealthChangedEvent {
            instance_id: instance.to_string(),
            run_spec_id: app.to_string(),
            healthy: *healthy,
            run_spec_version: time::text(*version),
        },
        Happening::HealthStatusChanged {
            app,
            instance,
            version,
            alive,
        } => What::HealthStatusChangedEvent {
            app_id: app.to_string(),
            instance_id: instance.to_string(),
            version: time::text(*version),
            alive: *alive,
        },
        Happening::FailedHealthCheck {
            app,
            instance,
            check,
        } => What::FailedHealthCheckEvent {
            app_id: app.to_string(),
            task_id: instance.to_string(),
            health_check: health::write(check),
        },
        Happening::UnhealthyInstanceKill {
            app,
            task,
            instance,
            version,
            reason,
            host,
            agent,
        } => What::UnhealthyInstanceKillEvent {
            app_id: app.to_string(),
            task_id: task.to_string(),
            instance_id: instance.to_string(),
            version: time::text(*version),
            reason: reason.clone(),
            host: host.clone(),
            slave_id: agent.as_ref().map(ToString::to_string),
        },
        Happening::UnknownInstanceTerminated {
            instance,
            app,
            condition,
        } => What::UnknownInstanceTerminatedEvent {
            instance_id: instance.to_string(),
            run_spec_id: app.to_string(),
            condition: (*condition).to_owned(),
        },
        Happening::AddHealthCheck {
            app,
            version,
            check,
        } => What::AddHealthCheckEvent {
            app_id: app.to_string(),
            version: time::text(*version),
            health_check: health::write(check),
        },
        Happening::RemoveHealthCheck { app } => What::RemoveHealthCheckEvent {
            app_id: app.to_string(),
        },
        Happening::GroupChangeSuccess { group, version } => What::GroupChangeSuccess {
            group_id: path(group.as_ref()),
            version: time::text(*version),
        },
        Happening::GroupChangeFailed {
            group,
            version,
            reason,
        } => What::GroupChangeFailed {
            group_id: path(group.as_ref()),
            version: time::text(*version),
            reason: reason.clone(),
        },
        Happening::DeploymentInfo(deployment) => What::DeploymentInfo {
            plan: plan(deployment),
            current_step: current(deployment),
        },
        Happening::DeploymentStepSuccess(deployment) => What::DeploymentStepSuccess {
            plan: plan(deployment),
            current_step: current(deployment),
        },
        Happening::DeploymentSuccess(deployment) => What::DeploymentSuccess {
            id: deployment.id.to_string(),
            plan: plan(deployment),
        },
        Happening::DeploymentFailed { deployment, reason } => What::DeploymentFailed {
            id: deployment.id.to_string(),
            plan: plan(deployment),
            reason: (*reason).to_owned(),
        },
        Happening::AppTerminated { app } => What::AppTerminatedEvent {
            app_id: app.to_string(),
        },
        Happening::SchedulerRegistered { framework, master } => What::SchedulerRegisteredEvent {
            framework_id: framework.clone(),
            master: master.clone(),
        },
        Happening::SchedulerReregistered { master } => What::SchedulerReregisteredEvent {
            master: master.clone(),
        },
        Happening::SchedulerDisconnected => What::SchedulerDisconnectedEvent {},
    }
}

fn status(update: &StatusUpdate) -> What {
    let agent = update.agent.as_ref();
    let addresses = update.ip_addresses.iter();
    What::StatusUpdateEvent {
        slave_id: agent.map(ToString::to_string).unwrap_or_default(),
        task_id: update.task.to_string(),
        task_status: update.state.as_str().to_owned(),
        message: update.message.clone(),
        app_id: update.app.to_string(),
        host: update.host.clone(),
        ip_addresses: addresses
            .map(|address| IpAddress::from(address.as_str()))
            .collect(),
        ports: update.ports.clone(),
        version: time::text(update.version),
    }
}

/// The path of a group; `None`: the root.
fn path(group: Option<&AppId>) -> String {
    group.map_or("/", AppId::as_str).to_owned()
}

fn current(deployment: &Deployment) -> Step {
    deployment.current_step().map(step).unwrap_or_default()
}
