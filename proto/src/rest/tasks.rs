//! Tasks as `/v2/tasks` and `/v2/apps/{id}/tasks` print them.

use serde::{Deserialize, Serialize};

/// One task that sits on an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Whose.
    pub app_id: String,
    /// What its health checks say.
    #[serde(default)]
    pub health_check_results: Vec<Health>,
    /// What its check was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_result: Option<CheckResult>,
    /// Name of its agent.
    pub host: String,
    /// Its id.
    pub id: String,
    /// Where it can be reached.
    #[serde(default)]
    pub ip_addresses: Vec<IpAddress>,
    /// Its ports on the host.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Where proxies offer it.
    #[serde(default)]
    pub service_ports: Vec<u16>,
    /// Id of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
    /// `TASK_RUNNING`, …
    pub state: String,
    /// When its launch was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<String>,
    /// When it began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Its version of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Region of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Zone of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The volumes that it holds.
    #[serde(default)]
    pub local_volumes: Vec<LocalVolume>,
    /// In which role it takes resources.
    #[serde(default)]
    pub role: String,
}

/// A volume that stays, as a task holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalVolume {
    /// The app.
    pub run_spec_id: String,
    /// The place inside.
    pub container_path: String,
    /// What makes it one of its own.
    pub uuid: String,
    /// The id of the volume on its agent.
    pub persistence_id: String,
}

/// What a health check says of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether it passes.
    pub alive: bool,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// First time it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_success: Option<String>,
    /// Last time it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// Last time it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_cause: Option<String>,
    /// Whose.
    pub instance_id: String,
}

/// What a check was answered last: the one that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckResult {
    /// GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpResult>,
    /// A connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpResult>,
    /// A command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandResult>,
}

/// How a GET was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResult {
    /// With which status.
    pub status_code: u16,
}

/// Whether a connection was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpResult {
    /// It was.
    pub succeeded: bool,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    /// With which code.
    pub exit_code: i32,
}

/// An address of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    /// The address.
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: String,
}

impl From<&str> for IpAddress {
    fn from(address: &str) -> Self {
        let protocol = if address.contains(':') {
            "IPv6"
        } else {
            "IPv4"
        };
        Self {
            ip_address: address.to_owned(),
            protocol: protocol.to_owned(),
        }
    }
}

/// A list of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskList {
    /// The tasks.
    pub tasks: Vec<Task>,
}

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSingle {
    /// The task.
    pub task: Task,
}

/// Body of `POST /v2/tasks/delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTasks {
    /// Which.
    pub ids: Vec<String>,
}

/// How an instance failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// Whose.
    pub app_id: String,
    /// Where.
    pub host: String,
    /// Why, for people.
    pub message: String,
    /// On which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
    /// How it ended: `TASK_FAILED`, …
    pub state: String,
    /// Which task.
    pub task_id: String,
    /// When.
    pub timestamp: String,
    /// Its version of the app.
    pub version: String,
}

/// Counts and life times by what the tasks run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatsByVersion {
    /// Those of the present config that started since the last scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_after_last_scaling: Option<Stats>,
    /// Those of the present config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_latest_config: Option<Stats>,
    /// The others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_outdated_config: Option<Stats>,
    /// All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_summary: Option<Stats>,
}

/// Marathon wraps the numbers once more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The numbers.
    pub stats: TaskStats,
}

/// Numbers of some tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStats {
    /// How many stand where.
    pub counts: TaskCounts,
    /// Of those that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_time: Option<LifeTime>,
}

/// How many tasks stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Launched, not running.
    pub staged: u32,
    /// Running.
    pub running: u32,
    /// Running, and the check passes.
    pub healthy: u32,
    /// Running, and the check fails.
    pub unhealthy: u32,
}

/// How long tasks have been running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LifeTime {
    /// In the mean.
    pub average_seconds: f64,
    /// Half of them longer than this.
    pub median_seconds: f64,
}
