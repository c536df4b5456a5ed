//! Offers, in the form that the framework's capabilities ask for, and the filters that come back with them.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{Capability, Endpoint, Offer, Role};

use super::agent::{domain_info, fault_domain};
use super::{ConvertError, Fault, Within as _, attributes, maintenance, port, resources};
use crate::mesos::v1 as wire;

/// Where an agent's own pages are, as clients of Mesos expect it in an offer.
const AGENT_PATH: &str = "/slave(1)";
/// What an agent listens on when an offer does not say: Mesos' default.
const AGENT_PORT: i32 = 5051;
/// The longest time for which declined resources stay away: a year, as in Mesos.
const MAX_REFUSAL: Duration = Duration::from_secs(365 * 24 * 3600);

/// An offer for a framework with these capabilities: MULTI_ROLE reads on whose account it is (`allocation_info`), without
/// RESERVATION_REFINEMENT reservations are said in the older form, and only GPU_FRACTIONS reads which devices: a client
/// that passes on what it does not know would name devices in tasks that take another amount.
pub fn to_wire(offer: &Offer, capabilities: &BTreeSet<Capability>) -> wire::Offer {
    let multi_role = capabilities.contains(&Capability::MultiRole);
    let mut list = resources::to_wire(&offer.resources);
    if multi_role {
        resources::allocate(&mut list, &offer.role);
    }
    if !capabilities.contains(&Capability::ReservationRefinement) {
        resources::to_older_form(&mut list);
    }
    if !capabilities.contains(&Capability::GpuFractions) {
        list.iter_mut()
            .for_each(|resource| resource.devices.clear());
    }
    wire::Offer {
        id: (&offer.id).into(),
        framework_id: (&offer.framework).into(),
        agent_id: (&offer.agent).into(),
        hostname: offer.endpoint.hostname.clone(),
        resources: list,
        attributes: attributes::to_wire(&offer.attributes),
        domain: offer.domain.as_ref().map(domain_info),
        url: Some(url(&offer.endpoint)),
        allocation_info: multi_role.then(|| resources::allocation_info(&offer.role)),
        unavailability: offer.unavailability.map(maintenance::to_wire),
        ..wire::Offer::default()
    }
}

impl TryFrom<&wire::Offer> for Offer {
    type Error = ConvertError;
    fn try_from(offer: &wire::Offer) -> Result<Self, ConvertError> {
        Ok(Self {
            id: (&offer.id).try_into().within("id")?,
            framework: (&offer.framework_id).try_into().within("framework_id")?,
            agent: (&offer.agent_id).try_into().within("agent_id")?,
            endpoint: endpoint(offer)?,
            role: role(offer)?,
            resources: resources::from_wire(&offer.resources)?,
            attributes: attributes::from_wire(&offer.attributes)?,
            domain: offer.domain.as_ref().and_then(fault_domain),
            unavailability: offer
                .unavailability
                .as_ref()
                .map(|plan| maintenance::from_wire(plan).within("unavailability"))
                .transpose()?,
        })
    }
}

/// For how long what was declined stays away. As in Mesos, a time that makes no sense is the default of 5 s, and no time
/// is longer than a year.
pub fn refusal(filters: Option<&wire::Filters>) -> Duration {
    let default = wire::Filters::default().refuse_seconds();
    let seconds = filters.map_or(default, wire::Filters::refuse_seconds);
    let seconds = if seconds.is_nan() || seconds < 0.0 {
        default
    } else {
        seconds
    };
    Duration::try_from_secs_f64(seconds).map_or(MAX_REFUSAL, |time| time.min(MAX_REFUSAL))
}

fn role(offer: &wire::Offer) -> Result<Role, ConvertError> {
    let Some(role) = offer
        .allocation_info
        .as_ref()
        .and_then(|info| info.role.as_ref())
    else {
        return Ok(Role::any());
    };
    let at = "allocation_info.role";
    Role::new(role).map_err(|bad| ConvertError {
        path: at.to_owned(),
        fault: Fault::BadRole(bad),
    })
}

fn endpoint(offer: &wire::Offer) -> Result<Endpoint, ConvertError> {
    let address = offer.url.as_ref().map(|url| &url.address);
    Ok(Endpoint {
        hostname: offer.hostname.clone(),
        ip: address.map_or_else(String::new, |address| address.ip().to_owned()),
        port: port(
            "url.address.port",
            address.map_or(AGENT_PORT, |address| address.port),
        )?,
    })
}

fn url(endpoint: &Endpoint) -> wire::Url {
    wire::Url {
        scheme: "http".to_owned(),
        address: wire::Address {
            hostname: Some(endpoint.hostname.clone()),
            ip: Some(endpoint.ip.clone()).filter(|ip| !ip.is_empty()),
            port: endpoint.port.into(),
        },
        path: Some(AGENT_PATH.to_owned()),
        ..wire::Url::default()
    }
}
