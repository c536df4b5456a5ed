//! What makes an app a pod: containers that start together on one agent, share its directories and network, and end
//! together.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::MEBIBYTE;
use serde::{Deserialize, Serialize};

use super::{AppId, AppSpec, Fetch, HealthCheckSpec, PortDefinition, ResourceLimits};

/// How labels begin that are told to proxies.
pub const PROXY_LABELS: &str = "HAPROXY_";

/// What a pod has beside what every app has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodSpec {
    /// In the order given; at least one.
    pub containers: Vec<PodContainer>,
    /// Directories that containers share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PodVolume>,
    /// What is taken of the offer beside the containers.
    pub executor: ExecutorResources,
}

/// One container of a pod; each of its instances has a task for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodContainer {
    /// Unique in the pod.
    pub name: String,
    /// What it runs; `None`: what its image says.
    pub program: Option<PodProgram>,
    /// What it runs in; `None`: the files of the agent.
    pub image: Option<PodImage>,
    /// Thousandths of a CPU.
    pub cpus_milli: u64,
    /// Bytes of memory.
    pub mem_bytes: u64,
    /// Bytes of disk.
    pub disk_bytes: u64,
    /// Whole GPUs.
    pub gpus: u32,
    /// How much more it may have.
    #[serde(default, skip_serializing_if = "ResourceLimits::is_empty")]
    pub limits: ResourceLimits,
    /// Its ports.
    pub endpoints: Vec<Endpoint>,
    /// Environment; wins over that of the pod.
    pub env: BTreeMap<String, String>,
    /// Variables that hold a secret of the pod: the name of each, and the name of its secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_secrets: BTreeMap<String, String>,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
    /// The user to run as; `None`: the pod's.
    pub user: Option<String>,
    /// When it counts as healthy; run by its agent. Port indices count its own endpoints.
    pub health_check: Option<HealthCheckSpec>,
    /// What its agent asks it for information only, as of apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<HealthCheckSpec>>,
    /// Which volumes it sees, and where.
    pub mounts: Vec<VolumeMount>,
    /// What to bring into its sandbox first.
    pub fetch: Vec<Fetch>,
    /// From SIGTERM to SIGKILL; `None`: the agent's own.
    pub kill_grace_period: Option<Duration>,
    /// Whether its command has a terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
}

/// What a container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodProgram {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// An argument vector.
    Argv {
        /// The executable first, or with an image arguments of its own program; at least one.
        words: Vec<String>,
        /// Whether the first of them is run in place of the image's own program; `None`: not said, which means no.
        overrides_entrypoint: Option<bool>,
    },
}

/// What a container runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodImage {
    /// Its reference.
    pub id: String,
    /// Ask the registry before every start; `None`: not said, which means no.
    pub force_pull: Option<bool>,
    /// The name of the secret that is the login for it: a Docker `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name, unique in the pod, and how it is reached.
    pub port: PortDefinition,
    /// What it speaks, as it was given: any names, as `http`; none, and it is TCP.
    #[serde(default)]
    pub protocols: Vec<String>,
}

impl Endpoint {
    /// What it is told to speak.
    pub fn spoken(&self) -> Vec<String> {
        match self.protocols.is_empty() {
            true => self.port.protocol.each().map(ToString::to_string).collect(),
            false => self.protocols.clone(),
        }
    }
}

/// A directory that containers share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVolume {
    /// Unique in the pod.
    pub name: String,
    /// Where its files are.
    pub source: VolumeSource,
}

/// Where the files of a volume are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// Below the sandbox that the containers of an instance share; they go with it.
    Ephemeral,
    /// On the host, below what its operator allows; relative: below the sandbox of the container.
    Host(String),
    /// One file, which holds the secret of this name.
    Secret(String),
}

impl PodVolume {
    /// The name of the secret that it holds, if it holds one.
    pub const fn secret(&self) -> Option<&String> {
        match &self.source {
            VolumeSource::Secret(secret) => Some(secret),
            VolumeSource::Ephemeral | VolumeSource::Host(_) => None,
        }
    }
}

/// Where a container sees a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Which volume.
    pub name: String,
    /// The place inside; relative: below the sandbox.
    pub path: String,
    /// Whether it can only be read; `None`: not said, which means no.
    pub read_only: Option<bool>,
}

/// What is taken of the offer beside the containers of an instance. Nobody uses it; masters ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorResources {
    /// Thousandths of a CPU.
    pub cpus_milli: u64,
    /// Bytes of memory.
    pub mem_bytes: u64,
    /// Bytes of disk.
    pub disk_bytes: u64,
}

impl ExecutorResources {
    /// The least that may be asked for, which is what one gets who asks for nothing (Marathon's schema).
    pub const LEAST: Self = Self {
        cpus_milli: 100,
        mem_bytes: 32 * MEBIBYTE,
        disk_bytes: 10 * MEBIBYTE,
    };
}

impl Default for ExecutorResources {
    fn default() -> Self {
        Self::LEAST
    }
}

impl PodContainer {
    /// A container with Marathon's defaults: 1 CPU, 128 MB, no port, no check.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            program: None,
            image: None,
            cpus_milli: 1_000,
            mem_bytes: 128 * MEBIBYTE,
            disk_bytes: 0,
            gpus: 0,
            limits: ResourceLimits::default(),
            endpoints: Vec::new(),
            env: BTreeMap::new(),
            env_secrets: BTreeMap::new(),
            labels: BTreeMap::new(),
            user: None,
            health_check: None,
            check: None,
            mounts: Vec::new(),
            fetch: Vec::new(),
            kill_grace_period: None,
            tty: false,
        }
    }
}

impl AppSpec {
    /// A pod with Marathon's defaults: one instance, on the host's network.
    pub fn new_pod(id: AppId, pod: PodSpec) -> Self {
        Self {
            port_definitions: Vec::new(),
            pod: Some(Box::new(pod)),
            ..Self::new(id)
        }
    }

    /// Whether it is a pod.
    pub const fn is_pod(&self) -> bool {
        self.pod.is_some()
    }

    /// Its containers, when it is a pod.
    pub fn containers(&self) -> &[PodContainer] {
        self.pod.as_ref().map_or(&[], |pod| &pod.containers)
    }

    /// Its volumes, when it is a pod.
    pub fn volumes(&self) -> &[PodVolume] {
        self.pod.as_ref().map_or(&[], |pod| &pod.volumes)
    }

    /// The ports of an instance: of an app its own, of a pod those of its containers, in their order.
    pub fn ports(&self) -> impl Iterator<Item = &PortDefinition> {
        let endpoints = self.containers().iter().flat_map(|one| &one.endpoints);
        let endpoints = endpoints.map(|endpoint| &endpoint.port);
        self.port_definitions.iter().chain(endpoints)
    }

    /// Whether proxies offer its ports: those of an app always, those of a pod when a label says how.
    pub fn is_proxied(&self) -> bool {
        let is_for_proxies = |label: &String| label.starts_with(PROXY_LABELS);
        !self.is_pod() || self.labels.keys().any(is_for_proxies)
    }

    /// Gives each of its [`Self::ports`], in their order, a service port.
    pub(crate) fn set_service_ports(&mut self, numbers: impl Iterator<Item = u16>) {
        let containers = self.pod.iter_mut().flat_map(|pod| &mut pod.containers);
        let endpoints = containers.flat_map(|one| &mut one.endpoints);
        let endpoints = endpoints.map(|endpoint| &mut endpoint.port);
        let ports = self.port_definitions.iter_mut().chain(endpoints);
        for (definition, number) in ports.zip(numbers) {
            definition.port = number;
        }
    }

    /// The container that has a port, by its place among [`Self::ports`], and its place among those of the container.
    pub fn container_of_port(&self, mut at: usize) -> Option<(&PodContainer, usize)> {
        for container in self.containers() {
            if at < container.endpoints.len() {
                return Some((container, at));
            }
            at -= container.endpoints.len();
        }
        None
    }

    /// The health checks of an instance: of an app its own, of a pod those of its containers, in their order.
    pub fn checks(&self) -> impl Iterator<Item = &HealthCheckSpec> {
        let containers = self.containers().iter();
        let of_containers = containers.filter_map(|one| one.health_check.as_ref());
        self.health_checks.iter().chain(of_containers)
    }

    /// Which of its checks is that of a container.
    pub fn check_of_container(&self, name: &str) -> Option<usize> {
        let mut checked = self
            .containers()
            .iter()
            .filter(|one| one.health_check.is_some());
        checked.position(|one| one.name == name)
    }

    /// Of ports that were given to an instance in the order of [`Self::ports`], those of a container.
    pub fn of_container<'a, T>(&self, name: &str, ports: &'a [T]) -> &'a [T] {
        let mut rest = ports;
        for container in self.containers() {
            let (own, others) = rest.split_at(container.endpoints.len().min(rest.len()));
            if container.name == name {
                return own;
            }
            rest = others;
        }
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::HealthProtocol;

    #[test]
    fn a_port_and_a_check_belong_to_a_container() {
        let endpoint = |name: &str| Endpoint {
            port: PortDefinition {
                name: Some(name.to_owned()),
                ..PortDefinition::default_port()
            },
            protocols: Vec::new(),
        };
        let container = |name: &str, endpoints: &[&str], is_checked: bool| PodContainer {
            endpoints: endpoints.iter().map(|name| endpoint(name)).collect(),
            health_check: is_checked.then(|| HealthCheckSpec::new(HealthProtocol::MesosTcp)),
            ..PodContainer::new(name)
        };
        let containers = vec![
            container("a", &["one", "two"], false),
            container("b", &[], true),
            container("c", &["three"], true),
        ];
        let pod = PodSpec {
            containers,
            ..PodSpec::default()
        };
        let spec = AppSpec::new_pod(AppId::new("/p").expect("good"), pod);

        let names: Vec<_> = spec
            .ports()
            .filter_map(|port| port.name.as_deref())
            .collect();
        assert_eq!(names, ["one", "two", "three"]);
        assert_eq!(spec.of_container("a", &[1, 2, 3]), [1, 2]);
        assert_eq!(spec.of_container("b", &[1, 2, 3]), [0; 0]);
        assert_eq!(spec.of_container("c", &[1, 2, 3]), [3]);
        assert_eq!(spec.of_container("c", &[1]), [0; 0], "not all were given");
        let owner = |at| {
            let (container, place) = spec.container_of_port(at)?;
            Some((&*container.name, place))
        };
        assert_eq!(owner(1), Some(("a", 1)));
        assert_eq!(owner(2), Some(("c", 0)));
        assert_eq!(owner(3), None);
        assert_eq!(spec.check_of_container("c"), Some(1));
        assert_eq!(spec.check_of_container("a"), None);
        assert_eq!(spec.checks().count(), 2);
    }
}
