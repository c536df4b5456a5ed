//! How pods, their instances and containers stand, as `/v2/pods/…::status` and `::instances` tell it.

use serde::{Deserialize, Serialize};

use super::{Pod, Resources};
use crate::rest::apps::UnreachableStrategy;

/// A pod and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its path.
    pub id: String,
    /// What is wanted.
    pub spec: Pod,
    /// `STABLE` when as many as wanted are, else `DEGRADED`.
    pub status: String,
    /// Since when.
    pub status_since: String,
    /// Its instances.
    pub instances: Vec<PodInstanceStatus>,
    /// How an instance failed last, if one did.
    pub termination_history: Vec<Termination>,
    /// When something was last heard.
    pub last_updated: String,
    /// When something last changed.
    pub last_changed: String,
}

/// An instance of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodInstanceStatus {
    /// Its id.
    pub id: String,
    /// `PENDING`, `STAGING`, `STABLE`, `DEGRADED` or `TERMINAL`.
    pub status: String,
    /// Since when.
    pub status_since: String,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Name of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_hostname: Option<String>,
    /// Id of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Region of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_region: Option<String>,
    /// Zone of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_zone: Option<String>,
    /// What it takes.
    pub resources: Resources,
    /// Where it can be reached.
    pub networks: Vec<NetworkStatus>,
    /// Its containers.
    pub containers: Vec<ContainerStatus>,
    /// Where its version is described.
    pub spec_reference: String,
    /// Always empty until volumes that stay are carried.
    pub local_volumes: Vec<serde_json::Value>,
    /// When something was last heard.
    pub last_updated: String,
    /// When something last changed.
    pub last_changed: String,
    /// In which role it takes resources.
    pub role: String,
}

/// A network an instance is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatus {
    /// Its name; that of the host has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its addresses there.
    pub addresses: Vec<String>,
}

/// A container of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// `TASK_RUNNING`, …
    pub status: String,
    /// Since when.
    pub status_since: String,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether it is healthy, once it has run.
    pub conditions: Vec<StatusCondition>,
    /// The id of its task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Its ports.
    pub endpoints: Vec<EndpointStatus>,
    /// What it takes, until it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination: Option<TerminationState>,
    /// When something was last heard.
    pub last_updated: String,
    /// When something last changed.
    pub last_changed: String,
}

/// Something that holds or does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCondition {
    /// `healthy`.
    pub name: String,
    /// When it last changed.
    pub last_changed: String,
    /// When it was last heard of.
    pub last_updated: String,
    /// `true` or `false`.
    pub value: String,
    /// By whose word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A port of a container that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// On the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_host_port: Option<u16>,
    /// What the check that asks it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TerminationState {
    /// Of its program, when it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How an instance ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Termination {
    /// Which.
    #[serde(rename = "instanceID")]
    pub instance_id: String,
    /// When it began to run, or was launched.
    pub started_at: String,
    /// When it ended.
    pub terminated_at: String,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The container it ended for.
    pub containers: Vec<ContainerTermination>,
}

/// How a container of it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerTermination {
    /// The id of its task.
    pub container_id: String,
    /// `TASK_FAILED`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_known_state: Option<String>,
    /// More.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination: Option<TerminationState>,
}

/// An instance that is being killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its id.
    pub instance_id: String,
    /// Where it stands.
    pub state: InstanceState,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_info: Option<AgentInfo>,
    /// Its version of the pod.
    pub run_spec_version: String,
    /// What happens to it when its agent is not heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_strategy: Option<UnreachableStrategy>,
}

/// Where an instance stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceState {
    /// `Running`, `Killing`, …
    pub condition: String,
    /// Since when.
    pub since: String,
    /// Since when it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_since: Option<String>,
    /// What its checks say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// `Running` or `Decommissioned`.
    pub goal: String,
}

/// Where an instance is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentInfo {
    /// Name of the agent.
    pub host: String,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Not kept.
    pub attributes: Vec<serde_json::Value>,
}
