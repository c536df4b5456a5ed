//! Events as `/v2/events` tells them: the `data` of each frame.

use serde::{Deserialize, Serialize};

use super::apps::{App, HealthCheck};
use super::deployments::{Plan, Step};
use super::tasks::IpAddress;

/// One event and when it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    #[serde(flatten)]
    pub what: Happening,
    /// When.
    pub timestamp: String,
}

/// What happened. The names of the variants are those of `eventType`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "eventType",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
#[allow(
    missing_docs,
    reason = "names and meaning of the fields are Marathon's; they repeat those of tasks, apps and deployments"
)]
pub enum Happening {
    /// Somebody has posted, put or patched a single app.
    ApiPostEvent {
        client_ip: String,
        uri: String,
        app_definition: Box<App>,
    },
    /// Somebody has posted a pod.
    PodCreatedEvent { client_ip: String, uri: String },
    /// Somebody has put a pod.
    PodUpdatedEvent { client_ip: String, uri: String },
    /// Somebody has deleted a pod.
    PodDeletedEvent { client_ip: String, uri: String },
    /// News of a task.
    StatusUpdateEvent {
        slave_id: String,
        task_id: String,
        task_status: String,
        message: String,
        app_id: String,
        host: String,
        ip_addresses: Vec<IpAddress>,
        ports: Vec<u16>,
        version: String,
    },
    /// An instance stands elsewhere.
    InstanceChangedEvent {
        instance_id: String,
        condition: String,
        run_spec_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        run_spec_version: String,
    },
    /// The health of an instance is different.
    InstanceHealthChangedEvent {
        instance_id: String,
        run_spec_id: String,
        healthy: Option<bool>,
        run_spec_version: String,
    },
    /// An instance nobody knew has ended.
    UnknownInstanceTerminatedEvent {
        instance_id: String,
        run_spec_id: String,
        condition: String,
    },
    /// The result of a check is different.
    HealthStatusChangedEvent {
        app_id: String,
        instance_id: String,
        version: String,
        alive: bool,
    },
    /// A check has failed.
    FailedHealthCheckEvent {
        app_id: String,
        task_id: String,
        health_check: HealthCheck,
    },
    /// An app is checked from now on.
    AddHealthCheckEvent {
        app_id: String,
        version: String,
        health_check: HealthCheck,
    },
    /// An app is not checked any more.
    RemoveHealthCheckEvent { app_id: String },
    /// An instance is killed because its check fails.
    UnhealthyInstanceKillEvent {
        app_id: String,
        task_id: String,
        instance_id: String,
        version: String,
        reason: String,
        host: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slave_id: Option<String>,
    },
    /// A change is stored.
    GroupChangeSuccess { group_id: String, version: String },
    /// A change was turned down.
    GroupChangeFailed {
        group_id: String,
        version: String,
        reason: String,
    },
    /// A step begins.
    DeploymentInfo { plan: Plan, current_step: Step },
    /// A step is done.
    DeploymentStepSuccess { plan: Plan, current_step: Step },
    /// A deployment is done.
    DeploymentSuccess { id: String, plan: Plan },
    /// A deployment was given up.
    DeploymentFailed {
        id: String,
        plan: Plan,
        reason: String,
    },
    /// Every instance of an app has ended.
    AppTerminatedEvent { app_id: String },
    /// Somebody listens.
    EventStreamAttached { remote_address: String },
    /// Somebody listens no more.
    EventStreamDetached { remote_address: String },
    /// The master knows us.
    SchedulerRegisteredEvent {
        framework_id: String,
        master: String,
    },
    /// The master knows us again.
    SchedulerReregisteredEvent { master: String },
    /// The link to the master broke.
    SchedulerDisconnectedEvent {},
}
