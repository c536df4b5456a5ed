//! Networks of apps, and the ports of containers on networks of their own, both ways; in today's form and in the old ones.

use mete_proto::rest::apps::{App, Network as Said, PortMapping};
use mete_service_framework_core::spec::app::{
    AppNetwork, AppSpec, Container, ContainerKind, Mapping, NamedNetwork, PortDefinition, Protocol,
};
use serde_json::Value;

use super::Faults;
use super::legacy::asks_for_nothing;
use super::ports::is_name;

/// What is said of the network, in whatever form; `None` when nothing is.
pub(super) fn read(said: &App, faults: &mut Faults) -> Option<AppNetwork> {
    if let Some(networks) = said.networks.as_ref().filter(|list| !list.is_empty()) {
        return list(networks, faults);
    }
    let docker = said
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    if let Some(address) = said
        .ip_address
        .as_ref()
        .filter(|value| !asks_for_nothing(value))
    {
        return by_address(address, faults);
    }
    match docker?.network.as_deref()? {
        "HOST" => Some(AppNetwork::Host),
        "BRIDGE" => Some(AppNetwork::Bridge),
        "NONE" => {
            faults.not_carried("/container/docker/network", "network NONE");
            None
        }
        "USER" => {
            let message = "network USER needs the name of a network, in /networks or /ipAddress";
            faults.meaning("/container/docker/network", message);
            None
        }
        other => {
            let message = format!("is {other:?}, must be one of BRIDGE, HOST, NONE and USER");
            faults.shape("/container/docker/network", message);
            None
        }
    }
}

pub(super) fn list(said: &[Said], faults: &mut Faults) -> Option<AppNetwork> {
    let mut named = Vec::new();
    for (at, network) in said.iter().enumerate() {
        let path = format!("/networks({at})");
        let labels = network.labels.clone().unwrap_or_default();
        let name = network.name.clone().filter(|name| !name.is_empty());
        match network.mode.as_deref().unwrap_or("container") {
            mode @ ("host" | "container/bridge") => {
                if said.len() > 1 {
                    faults.meaning("/networks", "only container networks can be several");
                    return None;
                }
                let host = mode == "host";
                if name.is_some() || (host && !labels.is_empty()) {
                    let message = match host {
                        true => "a host network has neither name nor labels",
                        false => "a bridge network has no name",
                    };
                    faults.meaning(path, message);
                }
                return Some(match host {
                    true => AppNetwork::Host,
                    false => AppNetwork::Bridge,
                });
            }
            "container" => match name {
                Some(name) => named.push(NamedNetwork { name, labels }),
                None => faults.meaning(format!("{path}/name"), "a container network has a name"),
            },
            mode => faults.shape(
                format!("{path}/mode"),
                format!("is {mode:?}, must be one of container, container/bridge and host"),
            ),
        }
    }
    (!named.is_empty()).then_some(AppNetwork::Named(named))
}

/// `ipAddress`, the form before `networks`.
fn by_address(said: &Value, faults: &mut Faults) -> Option<AppNetwork> {
    let name = said.get("networkName").and_then(Value::as_str);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        faults.meaning("/ipAddress/networkName", "a container network has a name");
        return None;
    };
    let labels = said.get("labels").cloned().unwrap_or_default();
    Some(AppNetwork::Named(vec![NamedNetwork {
        name: name.to_owned(),
        labels: serde_json::from_value(labels).unwrap_or_default(),
    }]))
}

/// The ports on a network of its own, laid over those of before. `changed`: the app was on the host's until now.
pub(super) fn apply(spec: &mut AppSpec, said: &App, changed: bool, faults: &mut Faults) {
    if said
        .port_definitions
        .as_ref()
        .is_some_and(|list| !list.is_empty())
    {
        let message = "are of host networks only; others have container.portMappings";
        faults.meaning("/portDefinitions", message);
    }
    if said.require_ports == Some(true) {
        let message = "is of host networks only; others say hostPort";
        faults.meaning("/requirePorts", message);
    }
    spec.require_ports = false;
    // Where the ports stand when they are printed.
    spec.container.get_or_insert_with(|| Container {
        kind: ContainerKind::Mesos,
        image: None,
        force_pull: false,
        volumes: Vec::new(),
        secrets: Vec::new(),
        persistent: Vec::new(),
    });
    let container = said.container.as_ref();
    let new = container.and_then(|container| container.port_mappings.as_ref());
    let docker = container.and_then(|container| container.docker.as_ref());
    let old = docker.and_then(|docker| docker.port_mappings.as_ref());
    let mappings = match (new, old) {
        (Some(_), Some(old)) if !old.is_empty() => {
            let message = "cannot be given together with /container/portMappings";
            faults.meaning("/container/docker/portMappings", message);
            return;
        }
        (Some(list), _) | (None, Some(list)) => list.clone(),
        (None, None) => match discovered(said) {
            Some(list) => list,
            // A container that is given is given whole.
            None if changed || container.is_some() => vec![PortMapping {
                name: Some("default".to_owned()),
                ..PortMapping::default()
            }],
            None => return,
        },
    };
    let is_bridge = spec.network == AppNetwork::Bridge;
    let service_ports = said.ports.as_deref().unwrap_or_default();
    let one = |(at, said): (usize, &PortMapping)| {
        let mut said = said.clone();
        // The old list of ports says the service ports.
        said.service_port = said.service_port.or_else(|| service_ports.get(at).copied());
        definition(at, &said, is_bridge, faults)
    };
    spec.port_definitions = mappings.iter().enumerate().map(one).collect();
}

/// The ports that `ipAddress` announces: they have none of the host.
fn discovered(said: &App) -> Option<Vec<PortMapping>> {
    let ports = said
        .ip_address
        .as_ref()?
        .get("discovery")?
        .get("ports")?
        .as_array()?;
    let text = |port: &Value, key: &str| port.get(key).and_then(Value::as_str).map(str::to_owned);
    let one = |port: &Value| PortMapping {
        container_port: port.get("number").and_then(Value::as_i64),
        name: text(port, "name"),
        protocol: text(port, "protocol"),
        ..PortMapping::default()
    };
    Some(ports.iter().map(one).collect())
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
    let protocol = said
        .protocol
        .as_deref()
        .map_or(Some(Protocol::Tcp), Protocol::from_name);
    if protocol.is_none() {
        let name = said.protocol.as_deref().unwrap_or_default();
        let message = format!("is {name:?}, must be one of tcp, udp and udp,tcp");
        faults.shape(format!("{path}/protocol"), message);
    }
    if let Some(name) = said.name.as_ref().filter(|name| !is_name(name)) {
        let message = "must fully match regular expression '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'";
        faults.shape(format!("{path}/name"), format!("{name:?} {message}"));
    }
    PortDefinition {
        port: service_port,
        protocol: protocol.unwrap_or_default(),
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
