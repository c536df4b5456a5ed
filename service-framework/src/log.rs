//! What happens, as lines of the log: what people do and what goes wrong at INFO, what goes well at DEBUG.
//!
//! A thousand instances that begin as they should are not a thousand lines; whoever wants to see them asks for DEBUG, or
//! listens to `/v2/events`, where each of these is told with all its fields.

use std::collections::BTreeMap;

use mete_model::{TaskState, Timestamp};
use mete_service_framework_core::events::{Event, Happening, PodChange, StatusUpdate};
use mete_service_framework_core::input::Origin;
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::deployments::Deployment;
use mete_service_framework_core::state::instances::InstanceId;
use tracing::{debug, info};

/// Apps of a deployment that are named; the others are counted.
const MAX_NAMED: usize = 10;

/// Writes an event down.
pub(crate) fn note(event: &Event) {
    match &event.what {
        Happening::ApiPost { origin, app } => {
            let version = time::text(app.version);
            info!(app = %app.spec.id, version, by = origin.client_ip, "app changed");
        }
        Happening::PodChanged {
            origin,
            pod,
            change,
        } => pod_changed(origin, pod, *change),
        Happening::AppTerminated { app } => info!(%app, "app is gone"),
        Happening::GroupChangeFailed { group, reason, .. } => {
            info!(group = path(group.as_ref()), reason, "group not changed");
        }
        Happening::GroupChangeSuccess { group, .. } => {
            debug!(group = path(group.as_ref()), "group changed");
        }
        Happening::DeploymentInfo(deployment) => goes_on(deployment),
        Happening::DeploymentStepSuccess(one) => {
            debug!(deployment = %one.id, step = one.current, "deployment step done");
        }
        Happening::DeploymentSuccess(one) => {
            info!(deployment = %one.id, apps = apps(&one.affected), "deployment done");
        }
        Happening::DeploymentFailed { deployment, reason } => {
            let apps = apps(&deployment.affected);
            info!(deployment = %deployment.id, apps, reason, "deployment failed");
        }
        Happening::StatusUpdate(update) => task_changed(update),
        Happening::UnhealthyInstanceKill {
            task, host, reason, ..
        } => info!(%task, host, reason, "an unhealthy instance is killed"),
        Happening::UnknownInstanceTerminated {
            instance,
            condition,
            ..
        } => info!(%instance, condition, "an instance that nobody knows has ended"),
        Happening::InstanceHealthChanged {
            instance, healthy, ..
        } => health_changed(instance, *healthy),
        Happening::InstanceChanged {
            instance,
            condition,
            ..
        } => debug!(%instance, condition, "instance changed"),
        Happening::FailedHealthCheck { instance, .. } => {
            debug!(%instance, "a health check has failed");
        }
        // Told before, or of no weight beside the change it comes with, or said by the link with what it knows of it.
        Happening::HealthStatusChanged { .. }
        | Happening::AddHealthCheck { .. }
        | Happening::RemoveHealthCheck { .. }
        | Happening::SchedulerRegistered { .. }
        | Happening::SchedulerReregistered { .. }
        | Happening::SchedulerDisconnected => {}
    }
}

fn pod_changed(origin: &Origin, pod: &AppId, change: PodChange) {
    let by = &origin.client_ip;
    match change {
        PodChange::Created => info!(%pod, by, "pod created"),
        PodChange::Updated => info!(%pod, by, "pod changed"),
        PodChange::Deleted => info!(%pod, by, "pod deleted"),
    }
}

fn goes_on(deployment: &Deployment) {
    let Deployment { id, current, .. } = deployment;
    let steps = deployment.steps.len();
    if *current <= 1 {
        info!(deployment = %id, apps = apps(&deployment.affected), steps, "deployment begun");
    } else {
        debug!(deployment = %id, step = current, steps, "deployment goes on");
    }
}

fn task_changed(update: &StatusUpdate) {
    let StatusUpdate {
        task,
        host,
        message,
        ..
    } = update;
    let state = update.state.as_str();
    let goes_well = match update.state {
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Killed => true,
        TaskState::Finished
        | TaskState::Failed
        | TaskState::Error
        | TaskState::Lost
        | TaskState::Dropped
        | TaskState::Unreachable
        | TaskState::Gone
        | TaskState::GoneByOperator
        | TaskState::Unknown => false,
    };
    if goes_well {
        debug!(%task, to = state, host, message, "task changed state");
    } else {
        info!(%task, to = state, host, message, "task changed state");
    }
}

fn health_changed(instance: &InstanceId, healthy: Option<bool>) {
    match healthy {
        Some(false) => info!(%instance, "instance is unhealthy"),
        Some(true) => debug!(%instance, "instance is healthy"),
        None => debug!(%instance, "nothing is known of the health of an instance"),
    }
}

fn path(group: Option<&AppId>) -> String {
    group.map_or_else(|| "/".to_owned(), ToString::to_string)
}

fn apps(affected: &BTreeMap<AppId, Option<Timestamp>>) -> String {
    let named = affected.keys().take(MAX_NAMED).map(ToString::to_string);
    let mut text = named.collect::<Vec<_>>().join(" ");
    if let Some(more @ 1..) = affected.len().checked_sub(MAX_NAMED) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_apps_some_are_named() {
        let affected = |count: usize| {
            let ids = (0..count).map(|at| AppId::new(&format!("/a{at}")).expect("good"));
            ids.map(|id| (id, None)).collect()
        };

        assert_eq!(apps(&affected(2)), "/a0 /a1");
        assert!(apps(&affected(10)).ends_with(" /a9"));
        assert!(apps(&affected(13)).ends_with(" and 3 more"));
    }
}
