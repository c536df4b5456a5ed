//! What subscribers of `/v2/events` hear; the shell writes them as JSON.

use std::sync::Arc;

use mete_model::{AgentId, TaskId, TaskState, Timestamp};

use crate::input::Origin;
use crate::spec::app::{AppId, HealthCheckSpec};
use crate::spec::history::AppVersion;
use crate::state::deployments::Deployment;
use crate::state::instances::InstanceId;

/// One event and when it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
}

/// What happened. The comment of each names its `eventType`.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// `api_post_event`
    ApiPost {
        /// Who asked.
        origin: Origin,
        /// What is wanted.
        app: Arc<AppVersion>,
    },
    /// `pod_created_event`, `pod_updated_event`, `pod_deleted_event`
    PodChanged {
        /// Who asked.
        origin: Origin,
        /// Which pod.
        pod: AppId,
        /// What became of it.
        change: PodChange,
    },
    /// `status_update_event`
    StatusUpdate(Box<StatusUpdate>),
    /// `instance_changed_event`
    InstanceChanged {
        /// Which.
        instance: InstanceId,
        /// `Scheduled`, `Provisioned`, `Staging`, `Starting`, `Running`, `Killing`, `Finished`, `Failed`, …
        condition: &'static str,
        /// Whose.
        app: AppId,
        /// Its version.
        version: Timestamp,
        /// Where.
        agent: Option<AgentId>,
        /// On which host.
        host: Option<String>,
    },
    /// `instance_health_changed_event`
    InstanceHealthChanged {
        /// Which.
        instance: InstanceId,
        /// Whose.
        app: AppId,
        /// Its version.
        version: Timestamp,
        /// What its check says now.
        healthy: Option<bool>,
    },
    /// `health_status_changed_event`
    HealthStatusChanged {
        /// Whose.
        app: AppId,
        /// Which.
        instance: InstanceId,
        /// Its version.
        version: Timestamp,
        /// What its check says now.
        alive: bool,
    },
    /// `failed_health_check_event`
    FailedHealthCheck {
        /// Whose.
        app: AppId,
        /// Which.
        instance: InstanceId,
        /// The check.
        check: HealthCheckSpec,
    },
    /// `unhealthy_instance_kill_event`
    UnhealthyInstanceKill {
        /// Whose.
        app: AppId,
        /// Which task.
        task: TaskId,
        /// Which.
        instance: InstanceId,
        /// Its version.
        version: Timestamp,
        /// Why.
        reason: String,
        /// On which host.
        host: String,
        /// On which agent.
        agent: Option<AgentId>,
    },
    /// `unknown_instance_terminated_event`
    UnknownInstanceTerminated {
        /// Which.
        instance: InstanceId,
        /// Whose it was.
        app: AppId,
        /// How it ended, as a condition.
        condition: &'static str,
    },
    /// `add_health_check_event`
    AddHealthCheck {
        /// Whose.
        app: AppId,
        /// From which version on.
        version: Timestamp,
        /// The check.
        check: HealthCheckSpec,
    },
    /// `remove_health_check_event`
    RemoveHealthCheck {
        /// Whose.
        app: AppId,
    },
    /// `group_change_success`
    GroupChangeSuccess {
        /// The group that what changed lies in; `None`: the root.
        group: Option<AppId>,
        /// The version of the change.
        version: Timestamp,
    },
    /// `group_change_failed`
    GroupChangeFailed {
        /// The group that what was to change lies in; `None`: the root.
        group: Option<AppId>,
        /// The version it would have had.
        version: Timestamp,
        /// Why nothing changed.
        reason: String,
    },
    /// `deployment_info`: a step begins
    DeploymentInfo(Arc<Deployment>),
    /// `deployment_step_success`
    DeploymentStepSuccess(Arc<Deployment>),
    /// `deployment_success`
    DeploymentSuccess(Arc<Deployment>),
    /// `deployment_failed`
    DeploymentFailed {
        /// Which.
        deployment: Arc<Deployment>,
        /// Why.
        reason: &'static str,
    },
    /// `app_terminated_event`
    AppTerminated {
        /// Which.
        app: AppId,
    },
    /// `scheduler_registered_event`
    SchedulerRegistered {
        /// Our id.
        framework: String,
        /// Whose framework we are.
        master: String,
    },
    /// `scheduler_reregistered_event`
    SchedulerReregistered {
        /// Whose framework we are.
        master: String,
    },
    /// `scheduler_disconnected_event`
    SchedulerDisconnected,
}

/// What a user has made of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodChange {
    /// It is new.
    Created,
    /// It is another.
    Updated,
    /// It is wanted no more.
    Deleted,
}

/// What `status_update_event` tells.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// On which agent.
    pub agent: Option<AgentId>,
    /// Which task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Why, for people.
    pub message: String,
    /// Whose.
    pub app: AppId,
    /// On which host.
    pub host: String,
    /// Its addresses.
    pub ip_addresses: Vec<String>,
    /// Its ports on the host.
    pub ports: Vec<u16>,
    /// Its version.
    pub version: Timestamp,
}

/// What an event tells something of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Of these apps and groups.
    Paths(Vec<AppId>),
    /// Of the service framework itself.
    Itself,
}

impl Happening {
    /// What it tells something of: who may not see all of it should not hear it.
    pub fn about(&self) -> About {
        let paths = match self {
            Self::ApiPost { app, .. } => vec![app.spec.id.clone()],
            Self::PodChanged { pod, .. } => vec![pod.clone()],
            Self::StatusUpdate(update) => vec![update.app.clone()],
            Self::InstanceChanged { app, .. }
            | Self::InstanceHealthChanged { app, .. }
            | Self::HealthStatusChanged { app, .. }
            | Self::FailedHealthCheck { app, .. }
            | Self::UnhealthyInstanceKill { app, .. }
            | Self::UnknownInstanceTerminated { app, .. }
            | Self::AddHealthCheck { app, .. }
            | Self::RemoveHealthCheck { app }
            | Self::AppTerminated { app } => vec![app.clone()],
            Self::GroupChangeSuccess { group, .. } | Self::GroupChangeFailed { group, .. } => {
                group.iter().cloned().collect()
            }
            Self::DeploymentInfo(deployment)
            | Self::DeploymentStepSuccess(deployment)
            | Self::DeploymentSuccess(deployment)
            | Self::DeploymentFailed { deployment, .. } => {
                deployment.affected.keys().cloned().collect()
            }
            Self::SchedulerRegistered { .. }
            | Self::SchedulerReregistered { .. }
            | Self::SchedulerDisconnected => return About::Itself,
        };
        About::Paths(paths)
    }

    /// The `eventType`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::ApiPost { .. } => "api_post_event",
            Self::PodChanged { change, .. } => match change {
                PodChange::Created => "pod_created_event",
                PodChange::Updated => "pod_updated_event",
                PodChange::Deleted => "pod_deleted_event",
            },
            Self::StatusUpdate(_) => "status_update_event",
            Self::InstanceChanged { .. } => "instance_changed_event",
            Self::InstanceHealthChanged { .. } => "instance_health_changed_event",
            Self::HealthStatusChanged { .. } => "health_status_changed_event",
            Self::FailedHealthCheck { .. } => "failed_health_check_event",
            Self::UnhealthyInstanceKill { .. } => "unhealthy_instance_kill_event",
            Self::UnknownInstanceTerminated { .. } => "unknown_instance_terminated_event",
            Self::AddHealthCheck { .. } => "add_health_check_event",
            Self::RemoveHealthCheck { .. } => "remove_health_check_event",
            Self::GroupChangeSuccess { .. } => "group_change_success",
            Self::GroupChangeFailed { .. } => "group_change_failed",
            Self::DeploymentInfo(_) => "deployment_info",
            Self::DeploymentStepSuccess(_) => "deployment_step_success",
            Self::DeploymentSuccess(_) => "deployment_success",
            Self::DeploymentFailed { .. } => "deployment_failed",
            Self::AppTerminated { .. } => "app_terminated_event",
            Self::SchedulerRegistered { .. } => "scheduler_registered_event",
            Self::SchedulerReregistered { .. } => "scheduler_reregistered_event",
            Self::SchedulerDisconnected => "scheduler_disconnected_event",
        }
    }
}
