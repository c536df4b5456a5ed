//! Agents as they describe themselves. The id stands in the message only: what an agent says of itself does not depend on
//! whether the master has admitted it.

use mete_model::resources::devices::{MAX_DEVICES, WHOLE_DEVICE};
use mete_model::{AgentInfo, Endpoint, FaultDomain, Resources};
use prost::Message as _;

use super::{ConvertError, attributes, port, resources};
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
        let came = AgentInfo::try_from(&info).ok();
        let came = came.as_ref();
        if came.map(|came| &came.endpoint) != Some(&agent.endpoint) {
            info.hostname.clone_from(&agent.endpoint.hostname);
            info.ip = Some(agent.endpoint.ip.clone()).filter(|ip| !ip.is_empty());
            info.port = Some(agent.endpoint.port.into());
        }
        if came.map(|came| &came.resources) != Some(&agent.resources) {
            info.resources = resources::to_wire(&agent.resources);
        }
        if came.map(|came| &came.attributes) != Some(&agent.attributes) {
            info.attributes = attributes::to_wire(&agent.attributes);
        }
        if came.map(|came| &came.domain) != Some(&agent.domain) {
            info.domain = agent.domain.as_ref().map(domain_info);
        }
        info
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
