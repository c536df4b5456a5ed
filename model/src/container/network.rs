//! Which network a container sees, and which ports of its host lead into it.

use std::fmt;

/// Most ports of one container that are led to it: a task of Marathon with more is a mistake.
pub const MAX_PORT_MAPPINGS: usize = 256;

/// Most networks that one container joins: an interface each.
pub const MAX_NETWORKS: usize = 8;

/// Which network a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// That of its agent.
    #[default]
    Host,
    /// Nothing but a loopback of its own.
    None,
    /// One of its own on the agent's bridge: it reaches the outside, and is reached through mapped ports.
    Bridge {
        /// Ports of the host that lead to it.
        ports: Vec<PortMapping>,
    },
    /// One of its own, joined to networks that the operator of the agent has set up.
    Named {
        /// Their names, in the order in which they are joined; at least one.
        names: Vec<String>,
        /// Ports of the host that lead to its address on the first of them.
        ports: Vec<PortMapping>,
    },
}

impl Network {
    /// Ports of the host that lead to it.
    pub fn ports(&self) -> &[PortMapping] {
        match self {
            Self::Host | Self::None => &[],
            Self::Bridge { ports } | Self::Named { ports, .. } => ports,
        }
    }
}

/// A port of the host that leads to a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// On the host; one of those that the task takes from the offer.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// Over what.
    pub transport: Transport,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// `tcp`
    #[default]
    Tcp,
    /// `udp`
    Udp,
}

impl Transport {
    /// The name in small letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// From the name in any letters.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp]
            .into_iter()
            .find(|transport| transport.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
