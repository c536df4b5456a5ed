//! What reports of a task carry besides: the networks that it is on, as its framework named them, what its container is in,
//! and what a Docker Engine says of its container. Frameworks of Mesos look there for addresses (Mesos-DNS at the label).

use std::net::Ipv4Addr;
use std::sync::Arc;

use mete_agent_core::Described;
use mete_model::container::{ContainerKind, Network};
use mete_proto::convert::ids::nested;
use mete_proto::convert::said::Said;
use mete_proto::mesos::v1 as wire;
use prost::Message as _;

use super::Job;
use crate::networks::Joined;

/// The label of the address of a container of type DOCKER, by its path in what `docker inspect` says.
const ADDRESS_LABEL: &str = "Docker.NetworkSettings.IPAddress";

/// Of a task that was joined to networks, if it was, with what its engine says of it, if it has one.
pub(crate) fn described(
    job: &Job,
    joined: Option<&Joined>,
    inspected: Option<String>,
) -> Described {
    let always = wire::TaskStatus {
        labels: joined.and_then(|joined| address_label(job, joined)),
        container_status: container(job, joined),
        ..wire::TaskStatus::default()
    };
    let at_start = inspected.map(|said| wire::TaskStatus {
        data: Some(said.into_bytes().into()),
        ..always.clone()
    });
    let is_something = always.labels.is_some() || always.container_status.is_some();
    let bytes = |status: wire::TaskStatus| Arc::from(status.encode_to_vec());
    Described {
        always: is_something.then(|| bytes(always)),
        at_start: at_start.map(bytes),
    }
}

/// The networks, and for a task of a group the executor that its container is in.
fn container(job: &Job, joined: Option<&Joined>) -> Option<wire::ContainerStatus> {
    let networks = joined.and_then(|joined| networks(job, joined));
    let Some(parent) = &job.parent else {
        return networks;
    };
    Some(wire::ContainerStatus {
        container_id: Some(nested(&job.container, &parent.container)),
        ..networks.unwrap_or_default()
    })
}

fn address_label(job: &Job, joined: &Joined) -> Option<wire::Labels> {
    let is_dockers = job
        .spec
        .container
        .as_ref()
        .is_some_and(|spec| spec.kind == ContainerKind::Docker);
    let address = joined.address.filter(|_| is_dockers)?;
    let label = wire::Label {
        key: ADDRESS_LABEL.to_owned(),
        value: Some(address.to_string()),
    };
    Some(wire::Labels {
        labels: vec![label],
    })
}

/// Each network by name as it was asked for, with the addresses there; tasks of a group are on those of their executor.
fn networks(job: &Job, joined: &Joined) -> Option<wire::ContainerStatus> {
    let (spec, asked) = match &job.parent {
        Some(parent) => (
            parent.spec.container.as_ref(),
            wire::ExecutorInfo::from(&*parent.spec).container,
        ),
        None => (
            job.spec.container.as_ref(),
            Said::of(&job.spec.original).container(),
        ),
    };
    let there = match spec?.network {
        Network::Named { .. } => joined.on_networks(),
        // It has a name as well, for those who ask for it by that.
        Network::Bridge { .. } => vec![joined.address.into_iter().collect()],
        Network::Host | Network::None => return None,
    };
    let asked = asked?.network_infos.into_iter();
    let named = asked.filter(|info| info.name.as_ref().is_some_and(|name| !name.is_empty()));
    let address = |ip: Ipv4Addr| wire::network_info::IpAddress {
        protocol: Some(wire::network_info::Protocol::IPv4.into()),
        ip_address: Some(ip.to_string()),
    };
    let infos = named.zip(there).map(|(asked, there)| wire::NetworkInfo {
        ip_addresses: there.into_iter().map(address).collect(),
        ..asked
    });
    let network_infos: Vec<_> = infos.collect();
    (!network_infos.is_empty()).then(|| wire::ContainerStatus {
        network_infos,
        ..wire::ContainerStatus::default()
    })
}
