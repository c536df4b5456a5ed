//! What an instance runs in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an instance runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// As whose kind it is written: an agent with a Docker Engine runs those of Docker's kind on it.
    pub kind: ContainerKind,
    /// Reference of the image; `None`: the files of the agent.
    pub image: Option<String>,
    /// Ask the registry before every start.
    pub force_pull: bool,
    /// As good as root of the machine, where the operator of the agent allows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// The name of the secret that is the login for the image: a Docker `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
    /// What is seen besides.
    pub volumes: Vec<HostVolume>,
    /// Secrets that are seen as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretVolume>,
    /// What each instance keeps for itself, on its agent, from one task to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persistent: Vec<PersistentVolume>,
}

/// As whose kind a container is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    /// `DOCKER`
    Docker,
    /// `MESOS`
    Mesos,
}

impl ContainerKind {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "DOCKER",
            Self::Mesos => "MESOS",
        }
    }
}

/// A path of the host as it is seen inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostVolume {
    /// The place inside; relative: below the sandbox.
    pub container_path: String,
    /// On the host, below what its operator allows; relative: below the sandbox.
    pub host_path: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// A file that holds a secret, for the user of the task alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVolume {
    /// The place inside; relative: below the sandbox.
    pub container_path: String,
    /// The name of the secret.
    pub secret: String,
}

/// Disk of an agent that belongs to one instance for as long as that is wanted: its tasks find there what those before them
/// wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistentVolume {
    /// The place inside, below the sandbox: one name without slashes.
    pub container_path: String,
    /// Its size.
    pub size_bytes: u64,
}

/// What is said of an app with such volumes. It is kept and printed; nothing follows from it any more, as in Marathon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residency {
    /// After which another place was to be looked for (3,600 s).
    pub relaunch_escalation_timeout: Duration,
    /// What was to happen when an agent is lost.
    pub task_lost_behavior: TaskLostBehavior,
}

impl Default for Residency {
    fn default() -> Self {
        Self {
            relaunch_escalation_timeout: Duration::from_secs(3_600),
            task_lost_behavior: TaskLostBehavior::WaitForever,
        }
    }
}

/// What was to happen to an instance whose agent is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskLostBehavior {
    /// `WAIT_FOREVER`
    WaitForever,
    /// `RELAUNCH_AFTER_TIMEOUT`
    RelaunchAfterTimeout,
}

impl TaskLostBehavior {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitForever => "WAIT_FOREVER",
            Self::RelaunchAfterTimeout => "RELAUNCH_AFTER_TIMEOUT",
        }
    }
}
