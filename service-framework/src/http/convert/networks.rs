//! Networks of apps, and the ports of containers on networks of their own, both ways; in today's form and in the old ones.

use mete_proto::rest::apps::{
    App, Container, IpAddress, IpDiscoveryPort, Network as Said, PortMapping,
};
use mete_service_framework_core::spec::app::{
    AppNetwork, AppSpec, Container as ContainerSpec, ContainerKind, Mapping, NamedNetwork,
    PortDefinition,
};

use super::Faults;
use super::app_in::Extent;
use super::ports::{named, protocol};

/// What `ipAddress` calls the bridge of agents (Marathon's `--mesos_bridge_name`).
const BRIDGE_OF_AGENTS: &str = "mesos-bridge";

const NO_NAME: &str = "Network name must be specified when container network is selected.";
const SEVERAL: &str =
    "May specify a single host network, single bridge network, or else 1-to-n container networks";

/// `container.docker.network`, the form before `networks`.
#[derive(Clone, Copy)]
enum DockerNetwork {
    Host,
    Bridge,
    None,
    User,
}

const DOCKER_NETWORKS: [(&str, DockerNetwork); 4] = [
    ("HOST", DockerNetwork::Host),
    ("BRIDGE", DockerNetwork::Bridge),
    ("NONE", DockerNetwork::None),
    ("USER", DockerNetwork::User),
];

/// `mode` of a network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Host,
    Bridge,
    Container,
}

const MODES: [(&str, Mode); 3] = [
    ("host", Mode::Host),
    ("container/bridge", Mode::Bridge),
    ("container", Mode::Container),
];

/// What is said of the network, in whatever form; `None` when nothing is.
pub(super) fn read(said: &App, faults: &mut Faults) -> Option<AppNetwork> {
    let networks = said.networks.as_ref().filter(|list| !list.is_empty());
    let docker = said
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    let of_docker = docker.and_then(|docker| docker.network.as_deref());
    if let Some(networks) = networks {
        if said.ip_address.is_some() {
            faults.meaning("/", "must not specify both networks and ipAddress");
        }
        if of_docker.is_some() {
            let message = "must not specify both container.docker.network and networks";
            faults.meaning("/", message);
        }
        return list(networks, faults);
    }
    let address = said.ip_address.as_ref();
    let by_address = |faults: &mut Faults| address.map(|said| by_address(said, faults));
    let Some(of_docker) = of_docker else {
        return by_address(faults).flatten();
    };
    let path = "/container/docker/network";
    match faults.word(path, of_docker, &DOCKER_NETWORKS)? {
        DockerNetwork::Host => Some(AppNetwork::Host),
        DockerNetwork::Bridge => Some(AppNetwork::Bridge),
        // Only then it is looked at, which one.
        DockerNetwork::User if address.is_some() => by_address(faults).flatten(),
        DockerNetwork::None => {
            faults.not_carried(path, "network NONE");
            None
        }
        DockerNetwork::User => {
            faults.meaning("/networks", NO_NAME);
            None
        }
    }
}

pub(super) fn list(said: &[Said], faults: &mut Faults) -> Option<AppNetwork> {
    let mut by_name = Vec::new();
    for (at, network) in said.iter().enumerate() {
        let labels = network.labels.clone().unwrap_or_default();
        let name = network.name.clone().filter(|name| !name.is_empty());
        let mode = network.mode.as_deref().unwrap_or("container");
        let Some(mode) = faults.word(format!("/networks({at})/mode"), mode, &MODES) else {
            continue;
        };
        match mode {
            Mode::Container => match name {
                Some(name) => by_name.push(NamedNetwork { name, labels }),
                None => faults.meaning("/networks", NO_NAME),
            },
            Mode::Host | Mode::Bridge if said.len() > 1 => {
                faults.meaning("/networks", SEVERAL);
                return None;
            }
            Mode::Host => {
                if name.is_some() || !labels.is_empty() {
                    let message = "Host networks may not have names or labels";
                    faults.meaning("/networks", message);
                }
                return Some(AppNetwork::Host);
            }
            Mode::Bridge => {
                if name.is_some() {
                    faults.meaning("/networks", "Bridge networks may not have names");
                }
                return Some(AppNetwork::Bridge);
            }
        }
    }
    (!by_name.is_empty()).then_some(AppNetwork::Named(by_name))
}

/// `ipAddress`, the form before `networks`.
fn by_address(said: &IpAddress, faults: &mut Faults) -> Option<AppNetwork> {
    let Some(name) = said.network_name.clone().filter(|name| !name.is_empty()) else {
        faults.meaning("/networks", NO_NAME);
        return None;
    };
    if name == BRIDGE_OF_AGENTS {
        return Some(AppNetwork::Bridge);
    }
    let labels = said.labels.clone().unwrap_or_default();
    Some(AppNetwork::Named(vec![NamedNetwork { name, labels }]))
}

/// The ports on a network of its own, laid over those of before. `changed`: the app was on the host's until now. Port
/// definitions of a whole app are passed over, since Marathon until 1.4 has printed both, and so is `requirePorts`.
pub(super) fn apply(
    spec: &mut AppSpec,
    said: &App,
    changed: bool,
    extent: Extent,
    faults: &mut Faults,
) {
    let definitions = said.port_definitions.as_deref().unwrap_or_default();
    if extent == Extent::Part && !definitions.is_empty() {
        let message = "portDefinitions are only allowed with host-networking";
        faults.meaning("/", message);
    }
    spec.require_ports = false;
    // Where the ports stand when they are printed.
    spec.container.get_or_insert_with(|| ContainerSpec {
        kind: ContainerKind::Mesos,
        image: None,
        force_pull: false,
        privileged: false,
        pull_secret: None,
        volumes: Vec::new(),
        secrets: Vec::new(),
        persistent: Vec::new(),
    });
    let mut mappings = match said_mappings(said, faults) {
        Some(mappings) => mappings,
        // A container that is given is given whole.
        None if changed || said.container.is_some() => vec![PortMapping {
            name: Some("default".to_owned()),
            ..PortMapping::default()
        }],
        None => return,
    };
    let service_ports = said.ports.as_deref().unwrap_or_default();
    if extent == Extent::Whole {
        let count = definitions.len().max(service_ports.len());
        let count = count.min(usize::from(u16::MAX)).max(mappings.len());
        mappings.resize(count, PortMapping::default());
    }
    let is_bridge = spec.network == AppNetwork::Bridge;
    let one = |(at, said): (usize, &PortMapping)| {
        let mut said = said.clone();
        // The old list of ports says the service ports.
        said.service_port = said.service_port.or_else(|| service_ports.get(at).copied());
        definition(at, &said, is_bridge, faults)
    };
    spec.port_definitions = mappings.iter().enumerate().map(one).collect();
}

/// The mapped ports that are said, in one of the three forms.
fn said_mappings(said: &App, faults: &mut Faults) -> Option<Vec<PortMapping>> {
    let container = said.container.as_ref();
    let new = container.and_then(|container| container.port_mappings.as_ref());
    let docker = container.and_then(|container| container.docker.as_ref());
    let old = docker.and_then(|docker| docker.port_mappings.as_ref());
    if new.is_some() && old.is_some_and(|old| !old.is_empty()) {
        let message = "cannot specify both portMappings and docker.portMappings";
        faults.meaning("/", message);
        return None;
    }
    let mappings = new.or(old);
    let announced = announced(said);
    if announced.is_empty() {
        return mappings.cloned();
    }
    let is_docker = |container: &Container| {
        let kind = container.r#type.as_deref();
        kind.is_none_or(|kind| kind.eq_ignore_ascii_case("DOCKER"))
    };
    if container.is_some_and(is_docker) {
        let message = "ipAddress/discovery is not allowed for Docker containers";
        faults.meaning("/ipAddress", message);
        return None;
    }
    if mappings.is_some() {
        let message = "container.portMappings and ipAddress.discovery.ports must not both be set";
        faults.meaning("/", message);
        return None;
    }
    Some(announced)
}

/// The ports that `ipAddress` announces: they have none of the host.
fn announced(said: &App) -> Vec<PortMapping> {
    let discovery = said
        .ip_address
        .as_ref()
        .and_then(|said| said.discovery.as_ref());
    let ports = discovery.and_then(|discovery| discovery.ports.as_deref());
    let one = |port: &IpDiscoveryPort| PortMapping {
        container_port: port.number,
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        labels: port.labels.clone(),
        ..PortMapping::default()
    };
    ports.unwrap_or_default().iter().map(one).collect()
}

fn definition(
    at: usize,
    said: &PortMapping,
    is_bridge: bool,
    faults: &mut Faults,
) -> PortDefinition {
    let path = format!("/container/portMappings({at})");
    let mut port = |key: &str, value: Option<i64>| {
        value.and_then(|port| faults.whole(&format!("{path}/{key}"), port, u16::MAX))
    };
    let container_port = port("containerPort", said.container_port).unwrap_or_default();
    let host_port = port("hostPort", said.host_port);
    let service_port = port("servicePort", said.service_port).unwrap_or_default();
    let protocol = protocol(&path, said.protocol.as_deref(), faults);
    named(&path, said.name.as_ref(), faults);
    PortDefinition {
        port: service_port,
        protocol,
        name: said.name.clone(),
        labels: said.labels.clone().unwrap_or_default(),
        mapping: Some(Mapping {
            container_port,
            host_port: host_port.or_else(|| is_bridge.then_some(0)),
            network_names: said.network_names.clone().unwrap_or_default(),
        }),
    }
}

/// As they are printed; never an empty list.
pub(super) fn write(network: &AppNetwork) -> Vec<Said> {
    let mode = |mode: &str| Said {
        mode: Some(mode.to_owned()),
        ..Said::default()
    };
    match network {
        AppNetwork::Host => vec![mode("host")],
        AppNetwork::Bridge => vec![mode("container/bridge")],
        AppNetwork::Named(networks) => networks
            .iter()
            .map(|network| Said {
                name: Some(network.name.clone()),
                labels: Some(network.labels.clone()).filter(|labels| !labels.is_empty()),
                ..mode("container")
            })
            .collect(),
    }
}

/// The ports on a network of its own, as they are printed.
pub(super) fn write_ports(spec: &AppSpec) -> Vec<PortMapping> {
    let one = |definition: &PortDefinition| {
        let mapping = definition.mapping.as_ref()?;
        let names = &mapping.network_names;
        Some(PortMapping {
            container_port: Some(mapping.container_port.into()),
            host_port: mapping.host_port.map(i64::from),
            service_port: Some(definition.port.into()),
            protocol: Some(definition.protocol.as_str().to_owned()),
            name: definition.name.clone(),
            labels: Some(definition.labels.clone()).filter(|labels| !labels.is_empty()),
            network_names: Some(names.clone()).filter(|names| !names.is_empty()),
        })
    };
    spec.port_definitions.iter().filter_map(one).collect()
}
