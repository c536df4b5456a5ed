//! `network.json` in a task directory: what of networks the container has. Read and written by the agent alone.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use mete_agent_core::task_dir::TaskDir;
use mete_model::container::{PortMapping, Transport};
use serde::{Deserialize, Serialize};

use super::cni::Attachment;
use super::rules::Forward;
use super::{NetworkError, Range};

/// Its name.
const FILE: &str = "network.json";

/// The format that is written today.
const VERSION: u32 = 1;

/// What of networks a container has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    version: u32,
    /// The file of its namespace.
    pub namespace: PathBuf,
    /// Its address on the bridge, or on the first of its networks.
    pub address: Option<Ipv4Addr>,
    /// The range of the bridge, when it is on that.
    pub(super) range: Option<Range>,
    /// The host's end of its link to the bridge.
    pub(super) link: Option<String>,
    #[serde(default)]
    ports: Vec<Port>,
    /// Whoever has the higher one has joined later.
    #[serde(default)]
    pub(super) turn: u64,
    /// The networks by name that it is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) networks: Vec<Attachment>,
    /// Whether the ports of the host lead to it already.
    #[serde(skip)]
    pub(super) open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    host: u16,
    container: u16,
    #[serde(default)]
    udp: bool,
}

impl Joined {
    pub(super) fn on_bridge(
        namespace: PathBuf,
        range: Range,
        address: Ipv4Addr,
        link: String,
        ports: &[PortMapping],
    ) -> Self {
        Self {
            address: Some(address),
            range: Some(range),
            link: Some(link),
            ..Self::by_name(namespace, Vec::new(), ports)
        }
    }

    /// Before it is on any of the networks.
    pub(super) fn by_name(
        namespace: PathBuf,
        networks: Vec<Attachment>,
        ports: &[PortMapping],
    ) -> Self {
        let port = |port: &PortMapping| Port {
            host: port.host,
            container: port.container,
            udp: port.transport == Transport::Udp,
        };
        Self {
            version: VERSION,
            namespace,
            address: None,
            range: None,
            link: None,
            ports: ports.iter().map(port).collect(),
            turn: 0,
            networks,
            open: false,
        }
    }

    /// Its addresses, as reports name them.
    pub fn addresses(&self) -> Vec<String> {
        let mut all: Vec<_> = self.address.into_iter().collect();
        for address in self.networks.iter().flat_map(Attachment::addresses) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all.iter().map(ToString::to_string).collect()
    }

    /// Its addresses on each of its networks by name, in the order in which they were joined.
    pub(crate) fn on_networks(&self) -> Vec<Vec<Ipv4Addr>> {
        self.networks.iter().map(Attachment::addresses).collect()
    }

    /// Name servers that its networks have; empty: those of the machine.
    pub fn servers(&self) -> Vec<String> {
        self.networks.iter().flat_map(Attachment::servers).collect()
    }

    /// Whether it has ports of the host.
    pub(super) fn has_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// As iproute2 knows it.
    pub(super) fn namespace_name(&self) -> &str {
        let name = self.namespace.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    /// Where ports of the host lead.
    pub(super) fn forwards(&self) -> impl Iterator<Item = Forward> {
        let to = self.address.into_iter();
        to.flat_map(|ip| self.ports.iter().map(move |port| (ip, port)))
            .map(|(ip, port)| Forward {
                transport: match port.udp {
                    true => Transport::Udp,
                    false => Transport::Tcp,
                },
                port: port.host,
                to: SocketAddrV4::new(ip, port.container),
            })
    }

    /// Where ports of the host for datagrams lead.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Forward> {
        let all = self.forwards();
        all.filter(|forward| forward.transport == Transport::Udp)
    }

    /// Writes it so that it is never seen in part.
    pub(super) fn write(&self, dir: &TaskDir) -> Result<(), NetworkError> {
        let path = dir.path().join(FILE);
        let slot = dir.path().join(format!("{FILE}.new"));
        let bytes = serde_json::to_vec(self).map_err(io::Error::other);
        let written = bytes
            .and_then(|bytes| fs::write(&slot, bytes))
            .and_then(|()| fs::rename(&slot, &path));
        written.map_err(NetworkError::io(path))
    }

    /// What stands there; `None` when nothing does.
    ///
    /// # Errors
    /// [`NetworkError`] when it cannot be read.
    pub fn read(dir: &TaskDir) -> Result<Option<Self>, NetworkError> {
        let path = dir.path().join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(NetworkError::io(&path))?,
        };
        let bad = |reason: String| NetworkError::Record {
            path: path.clone(),
            reason,
        };
        let joined: Self =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if joined.version > VERSION {
            return Err(bad(format!(
                "it has format {}, this agent knows formats up to {VERSION}",
                joined.version
            )));
        }
        Ok(Some(joined))
    }
}
