//! What an instance is launched with: command, environment, resources, check. Pure.

use mete_model::Resources;

use crate::spec::app::Protocol;

/// A port of a task, as DiscoveryInfo tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPort {
    /// On the host.
    pub number: u16,
    /// Its name, when it has one.
    pub name: Option<String>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Labels of the port definition.
    pub labels: Vec<(String, String)>,
}

/// What an instance takes, its ports aside.
pub fn resources(spec: &crate::spec::app::AppSpec) -> Resources {
    let mut resources = Resources::none();
    resources.cpus_milli = spec.cpus_milli;
    resources.mem_bytes = spec.mem_bytes;
    resources.disk_bytes = spec.disk_bytes;
    resources.gpus_milli = u64::from(spec.gpus) * 1_000;
    resources
}
