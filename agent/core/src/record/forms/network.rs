//! The network of a container.

use mete_model::container::{Network, PortMapping, Transport};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NetworkForm {
    Host,
    None,
    Bridge {
        ports: Vec<PortForm>,
    },
    Named {
        names: Vec<String>,
        ports: Vec<PortForm>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct PortForm {
    host: u16,
    container: u16,
    #[serde(default)]
    udp: bool,
}

impl From<&Network> for NetworkForm {
    fn from(network: &Network) -> Self {
        let forms = |ports: &[PortMapping]| ports.iter().map(PortForm::from).collect();
        match network {
            Network::Host => Self::Host,
            Network::None => Self::None,
            Network::Bridge { ports } => Self::Bridge {
                ports: forms(ports),
            },
            Network::Named { names, ports } => Self::Named {
                names: names.clone(),
                ports: forms(ports),
            },
        }
    }
}

impl NetworkForm {
    pub(super) fn read(self) -> Network {
        let read = |ports: Vec<PortForm>| ports.into_iter().map(PortForm::read).collect();
        match self {
            Self::Host => Network::Host,
            Self::None => Network::None,
            Self::Bridge { ports } => Network::Bridge { ports: read(ports) },
            Self::Named { names, ports } => Network::Named {
                names,
                ports: read(ports),
            },
        }
    }
}

impl From<&PortMapping> for PortForm {
    fn from(port: &PortMapping) -> Self {
        Self {
            host: port.host,
            container: port.container,
            udp: port.transport == Transport::Udp,
        }
    }
}

impl PortForm {
    const fn read(self) -> PortMapping {
        PortMapping {
            host: self.host,
            container: self.container,
            transport: if self.udp {
                Transport::Udp
            } else {
                Transport::Tcp
            },
        }
    }
}
