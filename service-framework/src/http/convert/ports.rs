//! Port definitions of apps on the host's network, both ways.

use std::collections::BTreeSet;

use mete_proto::rest::apps::{App, PortDefinition as Said};
use mete_service_framework_core::spec::app::{AppSpec, PortDefinition, Protocol};

use super::app_in::Extent;
use super::{Faults, UNKNOWN_WORD, networks};

pub(super) fn apply(spec: &mut AppSpec, said: &App, extent: Extent, faults: &mut Faults) {
    unique(said.ports.as_deref().unwrap_or_default(), faults);
    let was_host = spec.network.is_host();
    if let Some(network) = networks::read(said, faults) {
        spec.network = network;
    }
    if !spec.network.is_host() {
        return networks::apply(spec, said, was_host, extent, faults);
    }
    if !was_host {
        spec.port_definitions = vec![PortDefinition::default_port()];
    }
    if let Some(require) = said.require_ports {
        spec.require_ports = require;
    }
    let old = said.ports.as_deref().filter(|ports| !ports.is_empty());
    match (&said.port_definitions, old) {
        // Marathon until 1.4 has printed both.
        (Some(definitions), Some(ports)) if !definitions.is_empty() => {
            let numbers = definitions.iter().map(|said| said.port.unwrap_or_default());
            if !numbers.eq(ports.iter().copied()) {
                faults.meaning("/", "cannot specify both ports and port definitions");
            }
            let one = |(at, said): (usize, &Said)| definition(at, said, faults);
            spec.port_definitions = definitions.iter().enumerate().map(one).collect();
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

fn unique(ports: &[i64], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    let mut said = ports.iter().filter(|port| **port != 0);
    if !said.all(|port| seen.insert(port)) {
        faults.meaning("/", "ports must be unique");
    }
}

fn definition(at: usize, said: &Said, faults: &mut Faults) -> PortDefinition {
    let path = format!("/portDefinitions({at})");
    let port = said
        .port
        .and_then(|port| faults.whole(&format!("{path}/port"), port, u16::MAX));
    let protocol = protocol(&path, said.protocol.as_deref(), faults);
    named(&path, said.name.as_ref(), faults);
    PortDefinition {
        port: port.unwrap_or_default(),
        protocol,
        name: said.name.clone(),
        labels: said.labels.clone().unwrap_or_default(),
        mapping: None,
    }
}

/// The protocol of the port at `path`, TCP where nothing is said.
pub(super) fn protocol(path: &str, said: Option<&str>, faults: &mut Faults) -> Protocol {
    let protocol = said.map_or(Some(Protocol::Tcp), Protocol::from_name);
    if protocol.is_none() {
        faults.shape(format!("{path}/protocol"), UNKNOWN_WORD);
    }
    protocol.unwrap_or_default()
}

/// Whether the port at `path` has a name that is none.
pub(super) fn named(path: &str, said: Option<&String>, faults: &mut Faults) {
    if said.is_some_and(|name| !is_name(name)) {
        faults.shape(format!("{path}/name"), "error.pattern");
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
