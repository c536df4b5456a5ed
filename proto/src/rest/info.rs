//! What the service framework says of itself: `/v2/info` and `/v2/leader`.

use serde::{Deserialize, Serialize};

/// `GET /v2/info`. All three configs are there, because clients look into them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Name of the framework.
    pub name: String,
    /// Of the API: Marathon's.
    pub version: String,
    /// The program, and its version.
    pub buildref: String,
    /// Whether a leader is known.
    pub elected: bool,
    /// Its `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Id of the framework, once the master has given it one.
    #[serde(
        default,
        rename = "frameworkId",
        skip_serializing_if = "Option::is_none"
    )]
    pub framework_id: Option<String>,
    /// How it is set.
    pub marathon_config: Config,
    /// There is no ZooKeeper; the object must be there all the same.
    pub zookeeper_config: ZooKeeperConfig,
    /// Where it listens.
    pub http_config: HttpConfig,
}

/// How the service framework is set, in Marathon's words. Times in ms, as there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Address of the master.
    pub master: String,
    /// Name of the framework.
    pub framework_name: String,
    /// In seconds.
    pub failover_timeout: u64,
    /// Tasks outlive us and their agent.
    pub checkpoint: bool,
    /// Whether several run side by side.
    pub ha: bool,
    /// Where it is found.
    pub hostname: String,
    /// Role of its resources.
    pub mesos_role: String,
    /// First service port.
    pub local_port_min: u16,
    /// Last service port.
    pub local_port_max: u16,
    /// Executor of tasks.
    pub executor: String,
    /// Features switched on.
    pub features: Vec<String>,
    /// How long offers of no use are declined.
    pub decline_offer_duration: u64,
    /// How long a task may take to run.
    pub task_launch_timeout: u64,
    /// How long a launch may stay unconfirmed.
    pub task_launch_confirm_timeout: u64,
    /// Lost tasks are forgotten when their strategy says so.
    pub task_lost_expunge_initial_delay: u64,
    /// The same.
    pub task_lost_expunge_interval: u64,
}

/// All zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZooKeeperConfig {
    /// Empty.
    pub zk: String,
    /// In ms.
    pub zk_connection_timeout: u64,
    /// Versions kept of an app.
    pub zk_max_versions: usize,
    /// In ms.
    pub zk_session_timeout: u64,
    /// In ms.
    pub zk_timeout: u64,
}

/// Where it listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpConfig {
    /// Port of HTTP.
    pub http_port: u16,
    /// 0 until TLS is carried.
    pub https_port: u16,
}

/// `GET /v2/leader`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// `host:port`.
    pub leader: String,
}

/// Another level of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggerChange {
    /// `trace`, `debug`, `info`, `warn`, `error` or `off`.
    pub level: String,
    /// A module, or `ROOT`.
    pub logger: String,
    /// For so long; without it, until the process ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
}
