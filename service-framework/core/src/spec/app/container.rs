//! What an instance runs in.

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
    /// What is seen besides.
    pub volumes: Vec<HostVolume>,
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
