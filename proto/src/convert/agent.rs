//! Agents as they describe themselves. The id stands in the message only: what an agent says of itself does not depend on
//! whether the master has admitted it.

use mete_model::resources::devices::{MAX_DEVICES, WHOLE_DEVICE};
use mete_model::{AgentInfo, Endpoint, FaultDomain, Resources};
use prost::Message as _;

use super::{ConvertError, attributes, port, resources};
use crate::encoded;
use crate::json::number_of;
use crate::mesos::v1 as wire;
use wire::domain_info::fault_domain::{RegionInfo, ZoneInfo};

impl TryFrom<&wire::AgentInfo> for AgentInfo {
    type Error = ConvertError;
    fn try_from(info: &wire::AgentInfo) -> Result<Self, ConvertError> {
        if info.hostname.is_empty() {
            return Err(ConvertError::bad_value(
                "hostname",
                "\"\"",
                "tasks are found by it",
            ));
        }
        Ok(Self {
            endpoint: Endpoint {
                hostname: info.hostname.clone(),
                ip: info.ip().to_owned(),
                port: port("port", info.port())?,
            },
            resources: total(info)?,
            attributes: attributes::from_wire(&info.attributes)?,
            domain: info.domain.as_ref().and_then(fault_domain),
            original: info.encode_to_vec().into(),
        })
    }
}

/// The message it came as, with what has changed since; `id` as it came. An original that cannot be read counts as none.
impl From<&AgentInfo> for wire::AgentInfo {
    fn from(agent: &AgentInfo) -> Self {
        let mut info = Self::decode(agent.original.clone()).unwrap_or_default();
        write_over(&mut info, agent);
        let came = resources::from_wire(&info.resources).ok();
        if came.as_ref() != Some(&agent.resources) {
            info.resources = resources::to_wire(&agent.resources);
        }
        info
    }
}

/// The same with resources as the caller puts them.
pub fn with_resources(agent: &AgentInfo, list: Vec<wire::Resource>) -> wire::AgentInfo {
    const RESOURCES: u32 = number_of::<wire::AgentInfo>("resources");
    let mut rest = Vec::with_capacity(agent.original.len());
    encoded::put_others(&mut rest, &agent.original, |number| number == RESOURCES);
    let mut info = wire::AgentInfo::decode(&rest[..]).unwrap_or_default();
    write_over(&mut info, agent);
    info.resources = list;
    info
}

/// Brings all but resources to what the agent is by now.
fn write_over(info: &mut wire::AgentInfo, agent: &AgentInfo) {
    let endpoint = &agent.endpoint;
    let is_there = info.hostname == endpoint.hostname
        && info.ip() == endpoint.ip
        && info.port() == i32::from(endpoint.port);
    if !is_there {
        info.hostname.clone_from(&endpoint.hostname);
        info.ip = Some(endpoint.ip.clone()).filter(|ip| !ip.is_empty());
        info.port = Some(endpoint.port.into());
    }
    let came = attributes::from_wire(&info.attributes).ok();
    if came.as_ref() != Some(&agent.attributes) {
        info.attributes = attributes::to_wire(&agent.attributes);
    }
    if info.domain.as_ref().and_then(fault_domain) != agent.domain {
        info.domain = agent.domain.as_ref().map(domain_info);
    }
}

fn total(info: &wire::AgentInfo) -> Result<Resources, ConvertError> {
    let total = resources::from_wire(&info.resources)?;
    check_gpus(&total)?;
    Ok(total)
}

/// What an agent has: its GPUs come whole, however they are reserved.
///
/// # Errors
/// When they do not, or when there are too many.
pub fn check_gpus(total: &Resources) -> Result<(), ConvertError> {
    let plain = std::iter::once(total.gpus_milli);
    for milli in plain.chain(total.parts().map(|(_, part)| part.gpus_milli)) {
        let whole = u64::from(WHOLE_DEVICE);
        if !milli.is_multiple_of(whole) || milli / whole > MAX_DEVICES as u64 {
            return Err(ConvertError::bad_value(
                "resources.gpus",
                milli as f64 / 1e3,
                "an agent has whole GPUs, at most 1024",
            ));
        }
    }
    Ok(())
}

/// A fault domain as the model has it; `None` when the message says none.
pub fn fault_domain(domain: &wire::DomainInfo) -> Option<FaultDomain> {
    let fault_domain = domain.fault_domain.as_ref()?;
    Some(FaultDomain {
        region: fault_domain.region.name.clone(),
        zone: fault_domain.zone.name.clone(),
    })
}

/// A fault domain as agents, masters and offers carry it.
pub fn domain_info(domain: &FaultDomain) -> wire::DomainInfo {
    wire::DomainInfo {
        fault_domain: Some(wire::domain_info::FaultDomain {
            region: RegionInfo {
                name: domain.region.clone(),
            },
            zone: ZoneInfo {
                name: domain.zone.clone(),
            },
        }),
    }
}
