//! Networks and mapped ports: Docker's words for them, and those of networks by name.

use mete_model::ContainerSpec;
use mete_model::container::{
    ContainerKind, MAX_NETWORKS, MAX_PORT_MAPPINGS, Network, PortMapping, Transport,
};

use crate::convert::{ConvertError, Within as _, port, refuse, without_nul};
use crate::mesos::v1 as wire;
use wire::NetworkInfo;
use wire::container_info::DockerInfo;
use wire::container_info::docker_info::{Network as DockerNetwork, PortMapping as DockerPort};
use wire::network_info::PortMapping as NamedPort;

/// The name under which frameworks of Mesos ask for the bridge of an agent (Marathon's default).
pub const BRIDGE_NAME: &str = "mesos-bridge";

/// Longest name of a network (CNI says nothing; file systems say 255).
const MAX_NAME_BYTES: usize = 255;

/// What both parts of a container say, if they agree.
pub(super) fn read(
    docker: Option<&DockerInfo>,
    infos: &[NetworkInfo],
) -> Result<Network, ConvertError> {
    let (names, named_ports) = by_name(infos)?;
    let kind = docker.map_or(DockerNetwork::Host, DockerInfo::network);
    let mut ports = named_ports;
    for (at, mapping) in docker
        .iter()
        .flat_map(|docker| &docker.port_mappings)
        .enumerate()
    {
        let path = format!("docker.port_mappings[{at}]");
        let DockerPort {
            host_port,
            container_port,
            protocol,
        } = mapping;
        ports.push(mapping_of(*host_port, *container_port, protocol.as_deref()).within(path)?);
    }
    check(&ports)?;
    let is_bridge = names.len() == 1 && names.iter().all(|name| name == BRIDGE_NAME);
    let network = match kind {
        DockerNetwork::Host | DockerNetwork::User if is_bridge => Network::Bridge { ports },
        DockerNetwork::Host | DockerNetwork::User if !names.is_empty() => {
            Network::Named { names, ports }
        }
        DockerNetwork::Bridge if names.is_empty() || is_bridge => Network::Bridge { ports },
        DockerNetwork::User => return Err(ConvertError::missing("network_infos")),
        DockerNetwork::Host if ports.is_empty() => Network::Host,
        DockerNetwork::None if ports.is_empty() && names.is_empty() => Network::None,
        DockerNetwork::Host | DockerNetwork::None | DockerNetwork::Bridge => {
            let rule = "this kind of network has no names, and HOST and NONE have no mapped ports";
            return Err(ConvertError::bad_value(
                "docker.network",
                kind.as_str_name(),
                rule,
            ));
        }
    };
    Ok(network)
}

/// The names of networks, and the ports that are mapped on any of them.
fn by_name(infos: &[NetworkInfo]) -> Result<(Vec<String>, Vec<PortMapping>), ConvertError> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for (at, info) in infos.iter().enumerate() {
        let within = || format!("network_infos[{at}]");
        let chosen = info.ip_addresses.iter().any(|one| one.ip_address.is_some());
        refuse(chosen, "ip_addresses", "addresses that are asked for are").within(within())?;
        refuse(!info.groups.is_empty(), "groups", "groups of networks are").within(within())?;
        let Some(name) = info.name.as_ref().filter(|name| !name.is_empty()) else {
            if !info.port_mappings.is_empty() {
                return Err(ConvertError::missing("name")).within(within());
            }
            continue;
        };
        without_nul("name", name).within(within())?;
        if name.len() > MAX_NAME_BYTES || name.contains('/') || names.contains(name) {
            let rule = "a network has a short name without slashes, and is joined once";
            let bad = ConvertError::bad_value("name", format_args!("{name:?}"), rule);
            return Err(bad).within(within());
        }
        names.push(name.clone());
        for (at, mapping) in info.port_mappings.iter().enumerate() {
            let NamedPort {
                host_port,
                container_port,
                protocol,
            } = mapping;
            let read = mapping_of(*host_port, *container_port, protocol.as_deref());
            ports.push(
                read.within(format!("port_mappings[{at}]"))
                    .within(within())?,
            );
        }
    }
    if names.len() > MAX_NETWORKS {
        let rule = "a container joins eight networks at most";
        return Err(ConvertError::bad_value("network_infos", names.len(), rule));
    }
    Ok((names, ports))
}

fn mapping_of(
    host: u32,
    container: u32,
    protocol: Option<&str>,
) -> Result<PortMapping, ConvertError> {
    let transport = match protocol {
        None | Some("") => Some(Transport::Tcp),
        Some(name) => Transport::from_name(name),
    };
    Ok(PortMapping {
        host: port("host_port", host)?,
        container: port("container_port", container)?,
        transport: transport.ok_or_else(|| {
            let said = protocol.unwrap_or_default();
            ConvertError::bad_value("protocol", format_args!("{said:?}"), "it is tcp or udp")
        })?,
    })
}

/// A port of the host leads to one place.
fn check(ports: &[PortMapping]) -> Result<(), ConvertError> {
    if ports.len() > MAX_PORT_MAPPINGS {
        let rule = "a container has 256 mapped ports at most";
        return Err(ConvertError::bad_value("port_mappings", ports.len(), rule));
    }
    for (at, one) in ports.iter().enumerate() {
        let same =
            |other: &&PortMapping| (other.host, other.transport) == (one.host, one.transport);
        if ports.iter().skip(at + 1).any(|other| same(&other)) {
            let rule = "a port of the host leads to one port of the container";
            let said = format!("{}/{}", one.host, one.transport);
            return Err(ConvertError::bad_value("port_mappings", said, rule));
        }
    }
    Ok(())
}

/// Networks by name. Mesos' own containers ask so for the bridge as well: Docker's words are for those of an engine.
pub(super) fn infos(kind: ContainerKind, network: &Network) -> Vec<NetworkInfo> {
    let bridge = [BRIDGE_NAME.to_owned()];
    let (names, ports) = match (network, kind) {
        (Network::Named { names, ports }, _) => (&names[..], ports),
        (Network::Bridge { ports }, ContainerKind::Mesos) => (&bridge[..], ports),
        (Network::Bridge { .. }, ContainerKind::Docker) | (Network::Host | Network::None, _) => {
            return Vec::new();
        }
    };
    let info = |(at, name): (usize, &String)| NetworkInfo {
        name: Some(name.clone()),
        port_mappings: match at {
            0 => ports.iter().map(named_port).collect(),
            _ => Vec::new(),
        },
        ..NetworkInfo::default()
    };
    names.iter().enumerate().map(info).collect()
}

fn named_port(port: &PortMapping) -> NamedPort {
    NamedPort {
        host_port: port.host.into(),
        container_port: port.container.into(),
        protocol: Some(port.transport.as_str().to_owned()),
    }
}

/// What Docker's part says of the network.
pub(super) fn write(spec: &ContainerSpec, docker: &mut DockerInfo) {
    let network = &spec.network;
    if spec.kind == ContainerKind::Mesos && *network != Network::None {
        return; // It stands among the networks by name.
    }
    docker.set_network(match network {
        Network::Host => DockerNetwork::Host,
        Network::None => DockerNetwork::None,
        Network::Bridge { .. } => DockerNetwork::Bridge,
        Network::Named { .. } => DockerNetwork::User,
    });
    if let Network::Bridge { ports } = network {
        let port = |port: &PortMapping| DockerPort {
            host_port: port.host.into(),
            container_port: port.container.into(),
            protocol: Some(port.transport.as_str().to_owned()),
        };
        docker.port_mappings = ports.iter().map(port).collect();
    }
}
