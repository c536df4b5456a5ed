//! Which network instances have, and which ports lead to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AppSpec, PortDefinition};

/// The first port of a container that gets one because nobody says which, and has no port of the host to follow.
const FIRST_INNER_PORT: u16 = 10_000;

/// Which network the instances of an app have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppNetwork {
    /// `host`: that of their agents.
    #[default]
    Host,
    /// `container/bridge`: one of their own on the bridge of their agents.
    Bridge,
    /// `container`: one of their own, joined to networks of the operator; at least one.
    Named(Vec<NamedNetwork>),
}

impl AppNetwork {
    /// Whether it is that of the agents.
    pub const fn is_host(&self) -> bool {
        match self {
            Self::Host => true,
            Self::Bridge | Self::Named(_) => false,
        }
    }
}

/// A network that the operators of agents have set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedNetwork {
    /// Its name.
    pub name: String,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
}

/// How a port of a container is reached, on a network of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Inside; 0: the same as on the host.
    pub container_port: u16,
    /// On the host; 0: one from the offer, `None`: none.
    pub host_port: Option<u16>,
    /// Of several networks, the one meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_names: Vec<String>,
}

/// A port of an instance, as it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancePort {
    /// On the host, if it has one there.
    pub host: Option<u16>,
    /// Where the program listens.
    pub inner: u16,
    /// By whose number it is asked for in the environment.
    pub asked: u16,
    /// Whether it is one of those that were given out, not one that was fixed in the container.
    pub given: bool,
}

impl InstancePort {
    /// What the program is told: the port of the host where there is one.
    pub fn told(self) -> u16 {
        self.host.unwrap_or(self.inner)
    }
}

impl PortDefinition {
    /// Whether it takes a port of the host.
    pub fn has_host_port(&self) -> bool {
        let mapping = self.mapping.as_ref();
        mapping.is_none_or(|mapping| mapping.host_port.is_some())
    }
}

impl AppSpec {
    /// The ports of an instance, one for each definition, when these of the host were given to it; those that are missing
    /// are left out.
    pub fn instance_ports(&self, granted: &[u16]) -> Vec<InstancePort> {
        let mut granted = granted.iter().copied();
        let mut ports = Vec::new();
        for (definition, inner) in self.ports().zip(FIRST_INNER_PORT..) {
            let host = match definition.has_host_port() {
                true => match granted.next() {
                    Some(port) => Some(port),
                    None => break,
                },
                false => None,
            };
            let fixed = definition
                .mapping
                .as_ref()
                .map_or(0, |mapping| mapping.container_port);
            let inner = match fixed {
                0 => host.unwrap_or(inner),
                fixed => fixed,
            };
            let asked = match &definition.mapping {
                Some(_) => fixed,
                None => definition.port,
            };
            ports.push(InstancePort {
                host,
                inner,
                asked: if asked == 0 {
                    host.unwrap_or(inner)
                } else {
                    asked
                },
                given: host.is_some() || fixed == 0,
            });
        }
        ports
    }
}
