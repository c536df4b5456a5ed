//! What is wanted of one app: everything its user may say and everything `GET` prints back.
//!
//! Quantities are integers in the smallest unit; the shell turns the numbers of the API into them with
//! [`crate::validate::quantity`]. Whether the parts make sense together is checked by [`crate::validate`].

mod container; // what an instance runs in
mod health; // health checks
mod id; // ids of apps and groups
mod limits; // how far an instance may go beyond what it asks for
mod network; // which network instances have, and which ports lead to them
mod pod; // what makes an app a pod
mod readiness; // readiness checks

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::MEBIBYTE;
use serde::{Deserialize, Serialize};

pub use container::{
    Container, ContainerKind, HostVolume, PersistentVolume, Residency, SecretVolume,
    TaskLostBehavior,
};
pub(crate) use health::with_slash;
pub use health::{HealthCheckSpec, HealthProtocol};
pub use id::{AppId, BadAppId, MAX_APP_ID_BYTES, RESERVED_SEGMENTS};
pub use limits::{ResourceLimit, ResourceLimits};
pub use network::{AppNetwork, InstancePort, Mapping, NamedNetwork};
pub use pod::{
    Endpoint, ExecutorResources, PROXY_LABELS, PodContainer, PodImage, PodProgram, PodSpec,
    PodVolume, VolumeMount, VolumeSource,
};
pub use readiness::{MAX_PATH_BYTES, ReadinessCheckSpec};

/// The label of apps that run once on each agent that can have them; Marathon's clients carry labels through.
pub const DAEMON_LABEL: &str = "METE_DAEMON";

/// One app, or one pod, as its user describes it, with every default filled in.
///
/// What of it a pod has in each of its containers (command, image, resources, ports, checks, fetch) stands in `pod` and
/// nowhere else; [`Self::ports`] and [`Self::checks`] are those of either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Where it stands in the tree of groups.
    pub id: AppId,
    /// A line for `/bin/sh -c`; never together with `args`.
    pub cmd: Option<String>,
    /// An argument vector, the executable first, or with an image arguments of its own program; empty when `cmd` is
    /// given.
    pub args: Vec<String>,
    /// What it runs in; `None`: the files of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The user to run as; `None`: the agent's.
    pub user: Option<String>,
    /// Whether the command has a terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// Environment; wins over every variable the framework sets.
    pub env: BTreeMap<String, String>,
    /// Variables that hold a secret: the name of each, and the name of its secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_secrets: BTreeMap<String, String>,
    /// Secrets by name: where each lies, in the words of whoever keeps them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// For people, tools and the proxies.
    pub labels: BTreeMap<String, String>,
    /// How many are wanted.
    pub instances: u32,
    /// Thousandths of a CPU for each instance.
    pub cpus_milli: u64,
    /// Bytes of memory for each instance.
    pub mem_bytes: u64,
    /// Bytes of disk for each instance.
    pub disk_bytes: u64,
    /// Whole GPUs for each instance.
    pub gpus: u32,
    /// How much more each instance may have.
    #[serde(default, skip_serializing_if = "ResourceLimits::is_empty")]
    pub limits: ResourceLimits,
    /// `""` or `"//cmd"`: the command executor.
    pub executor: String,
    /// Which network its instances have.
    #[serde(default, skip_serializing_if = "AppNetwork::is_host")]
    pub network: AppNetwork,
    /// Ports of the host, or of a container on a network of its own, with the service port of each.
    pub port_definitions: Vec<PortDefinition>,
    /// Whether the host ports must be the very numbers of `port_definitions`.
    pub require_ports: bool,
    /// Where instances may run.
    pub constraints: Vec<Constraint>,
    /// The roles whose resources it takes; `None`: all the framework has.
    pub accepted_resource_roles: Option<BTreeSet<String>>,
    /// The role its resources are accounted to; `None`: the framework's.
    pub role: Option<String>,
    /// Apps or groups that are started before this one.
    pub dependencies: BTreeSet<AppId>,
    /// When an instance counts as healthy: when all of them pass.
    pub health_checks: Vec<HealthCheckSpec>,
    /// What its agent asks each instance for information only: of the kinds MESOS_HTTP, MESOS_TCP and COMMAND; nothing is
    /// too many failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<HealthCheckSpec>>,
    /// When an instance that a deployment has started is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_check: Option<ReadinessCheckSpec>,
    /// How many may be missing or too many while it changes.
    pub upgrade_strategy: UpgradeStrategy,
    /// How fast failed instances are tried again.
    pub backoff: Backoff,
    /// From SIGTERM to SIGKILL; `None`: the agent's own.
    pub task_kill_grace_period: Option<Duration>,
    /// Which of several equals goes first.
    pub kill_selection: KillSelection,
    /// What happens to instances on agents that are not heard of.
    pub unreachable_strategy: UnreachableStrategy,
    /// What to bring into the sandbox first.
    pub fetch: Vec<Fetch>,
    /// What is said of its volumes; there whenever it has some that persist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Residency>,
    /// What it is made of when it is a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Box<PodSpec>>,
}

impl AppSpec {
    /// An app with Marathon's defaults: one instance, 1 CPU, 128 MB, one port, no check.
    pub fn new(id: AppId) -> Self {
        Self {
            id,
            cmd: None,
            args: Vec::new(),
            container: None,
            user: None,
            env: BTreeMap::new(),
            env_secrets: BTreeMap::new(),
            secrets: BTreeMap::new(),
            labels: BTreeMap::new(),
            instances: 1,
            cpus_milli: 1_000,
            mem_bytes: 128 * MEBIBYTE,
            disk_bytes: 0,
            gpus: 0,
            limits: ResourceLimits::default(),
            executor: String::new(),
            network: AppNetwork::Host,
            port_definitions: vec![PortDefinition::default_port()],
            require_ports: false,
            constraints: Vec::new(),
            tty: false,
            accepted_resource_roles: None,
            role: None,
            dependencies: BTreeSet::new(),
            health_checks: Vec::new(),
            check: None,
            readiness_check: None,
            upgrade_strategy: UpgradeStrategy::default(),
            backoff: Backoff::default(),
            task_kill_grace_period: None,
            kill_selection: KillSelection::YoungestFirst,
            unreachable_strategy: UnreachableStrategy::default(),
            fetch: Vec::new(),
            residency: None,
            pod: None,
        }
    }

    /// What each of its instances keeps from one task to the next.
    pub fn persistent_volumes(&self) -> &[PersistentVolume] {
        let container = self.container.as_ref();
        container.map_or(&[], |container| &container.persistent)
    }

    /// The disk that these take together.
    pub fn volume_bytes(&self) -> u64 {
        let sizes = self.persistent_volumes().iter();
        sizes.fold(0, |sum, volume| sum.saturating_add(volume.size_bytes))
    }

    /// Whether its instances stay where they are: each has volumes of its own on its agent.
    pub fn is_resident(&self) -> bool {
        !self.persistent_volumes().is_empty()
    }

    /// Whether it runs once on each agent that can have it, also on those that come later; `instances` has no meaning then.
    pub fn is_daemon(&self) -> bool {
        let label = self.labels.get(DAEMON_LABEL);
        label.is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The ports of the host that an instance asks for, in the order of those that take one; 0: any.
    pub fn host_ports(&self) -> impl Iterator<Item = u16> {
        self.ports()
            .filter_map(|definition| match &definition.mapping {
                Some(mapping) => mapping.host_port,
                None if self.require_ports => Some(definition.port),
                None => Some(0),
            })
    }

    /// The image it runs, if any.
    pub fn image(&self) -> Option<&str> {
        self.container.as_ref()?.image.as_deref()
    }

    /// Whether going from `before` to this needs new instances: any difference but the number of instances.
    pub fn is_config_change(&self, before: &Self) -> bool {
        let mut scaled = before.clone();
        scaled.instances = self.instances;
        *self != scaled
    }
}

/// One port of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDefinition {
    /// The service port; 0 in a request asks for one to be given. With `requirePorts` the host port too.
    pub port: u16,
    /// Over what.
    pub protocol: Protocol,
    /// For environment and discovery, unique within the app.
    pub name: Option<String>,
    /// For discovery.
    pub labels: BTreeMap<String, String>,
    /// How it is reached on a network of its own; `None` on the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

impl PortDefinition {
    /// What an app gets that says nothing of ports.
    pub fn default_port() -> Self {
        Self {
            port: 0,
            protocol: Protocol::Tcp,
            name: Some("default".to_owned()),
            labels: BTreeMap::new(),
            mapping: None,
        }
    }
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// `tcp`
    #[default]
    Tcp,
    /// `udp`
    Udp,
    /// `udp,tcp`
    UdpTcp,
}

impl Protocol {
    /// What it is made of, by name.
    pub fn each(self) -> impl Iterator<Item = &'static str> {
        self.as_str().split(',')
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpTcp => "udp,tcp",
        }
    }

    /// From the name in the API, in upper or lower case; `tcp,udp` is the same as `udp,tcp`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "udp,tcp" | "tcp,udp" => Some(Self::UdpTcp),
            _ => None,
        }
    }
}

/// One constraint, as it is written: field, operator, value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname`, `@hostname`, `@region`, `@zone` or an attribute of agents.
    pub field: String,
    /// UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER or IS, in capitals.
    pub operator: String,
    /// What the operator compares with.
    pub value: Option<String>,
}

/// How many instances may be missing or too many while an app is replaced, as parts of those wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeStrategy {
    /// So many stay healthy, 0 to 1.
    pub minimum_health_capacity: f64,
    /// So many more than wanted may run, 0 to 1.
    pub maximum_over_capacity: f64,
}

impl Default for UpgradeStrategy {
    fn default() -> Self {
        Self {
            minimum_health_capacity: 1.0,
            maximum_over_capacity: 1.0,
        }
    }
}

/// How fast failed instances are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay after the first failure (1 s).
    pub initial: Duration,
    /// Each further failure multiplies the delay by this (1.15).
    pub factor: f64,
    /// The longest delay (300 s).
    pub maximum: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 1.15,
            maximum: Duration::from_secs(300),
        }
    }
}

/// Which of several equals is killed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillSelection {
    /// `YOUNGEST_FIRST`
    #[default]
    YoungestFirst,
    /// `OLDEST_FIRST`
    OldestFirst,
}

impl KillSelection {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::YoungestFirst => "YOUNGEST_FIRST",
            Self::OldestFirst => "OLDEST_FIRST",
        }
    }
}

/// What happens to instances on agents that are not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnreachableStrategy {
    /// They are waited for as long as it takes.
    Disabled,
    /// They are replaced, then forgotten.
    Enabled {
        /// A replacement is started after this time (0 s).
        inactive_after: Duration,
        /// They are forgotten after this time, and killed if they come back (0 s).
        expunge_after: Duration,
    },
}

impl Default for UnreachableStrategy {
    fn default() -> Self {
        Self::Enabled {
            inactive_after: Duration::ZERO,
            expunge_after: Duration::ZERO,
        }
    }
}

/// Something to bring into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Where it is.
    pub uri: String,
    /// Unpack archives.
    pub extract: bool,
    /// Set the executable bit.
    pub executable: bool,
    /// Keep it for other tasks.
    pub cache: bool,
    /// Path in the sandbox; `None`: the last segment of `uri`.
    pub dest_path: Option<String>,
}
