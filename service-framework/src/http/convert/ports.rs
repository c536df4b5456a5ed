//! Port definitions of apps on the host's network, both ways.

use mete_proto::rest::apps::{App, PortDefinition as Said};
use mete_service_framework_core::spec::app::{AppSpec, PortDefinition, Protocol};

use super::{Faults, networks};

pub(super) fn apply(spec: &mut AppSpec, said: &App, faults: &mut Faults) {
    let was_host = spec.network.is_host();
    if let Some(network) = networks::read(said, faults) {
        spec.network = network;
    }
    if !spec.network.is_host() {
        return networks::apply(spec, said, was_host, faults);
    }
    if !was_host {
        spec.port_definitions = vec![PortDefinition::default_port()];
    }
    if let Some(require) = said.require_ports {
        spec.require_ports = require;
    }
    let old = said.ports.as_deref().filter(|ports| !ports.is_empty());
    match (&said.port_definitions, old) {
        (Some(definitions), Some(_)) if !definitions.is_empty() => {
            faults.meaning("/ports", "cannot specify both ports and port definitions");
        }
        (_, Some(ports)) => {
            let one = |(at, number): (usize, &i64)| {
                let port = faults.whole(&format!("/ports({at})"), *number, u16::MAX);
                PortDefinition {
                    port: port.unwrap_or_default(),
                    protocol: Protocol::Tcp,
                    name: None,
                    labels: Default::default(),
                    mapping: None,
                }
            };
            spec.port_definitions = ports.iter().enumerate().map(one).collect();
        }
        (Some(definitions), None) => {
            let one = |(at, said): (usize, &Said)| definition(at, said, faults);
            spec.port_definitions = definitions.iter().enumerate().map(one).collect();
        }
        // An empty list of old ports means none, as an empty list of definitions does.
        (None, None) if said.ports.is_some() => spec.port_definitions.clear(),
        (None, None) => {}
    }
}

fn definition(at: usize, said: &Said, faults: &mut Faults) -> PortDefinition {
    let path = format!("/portDefinitions({at})");
    let port = said
        .port
        .and_then(|port| faults.whole(&format!("{path}/port"), port, u16::MAX));
    let protocol = said
        .protocol
        .as_deref()
        .map_or(Some(Protocol::Tcp), |name| {
            let protocol = Protocol::from_name(name);
            if protocol.is_none() {
                faults.shape(
                    format!("{path}/protocol"),
                    format!("is {name:?}, must be one of tcp, udp and udp,tcp"),
                );
            }
            protocol
        });
    if let Some(name) = said.name.as_ref().filter(|name| !is_name(name)) {
        let message = "must fully match regular expression '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'";
        faults.shape(format!("{path}/name"), format!("{name:?} {message}"));
    }
    PortDefinition {
        port: port.unwrap_or_default(),
        protocol: protocol.unwrap_or_default(),
        name: said.name.clone(),
        labels: said.labels.clone().unwrap_or_default(),
        mapping: None,
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

pub(super) fn write(definition: &PortDefinition) -> Said {
    Said {
        port: Some(definition.port.into()),
        protocol: Some(definition.protocol.as_str().to_owned()),
        name: definition.name.clone(),
        labels: Some(definition.labels.clone()).filter(|labels| !labels.is_empty()),
    }
}
