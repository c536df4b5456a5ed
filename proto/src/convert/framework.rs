//! Frameworks as they describe themselves. With MULTI_ROLE `roles` counts and `role` must not be there; without it the
//! other way round (the rule of Mesos).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::{Capability, FrameworkInfo, Resources, Role};
use mete_placement::Amounts;
use prost::Message as _;

use super::{ConvertError, Within as _, resources, role};
use crate::mesos::v1 as wire;
use wire::framework_info::capability::Type;

/// Sets of quantities of one role of which an offer holds at least one: people state one or two.
const MAX_MIN_ALLOCATABLE: usize = 100;
/// The longest absence, in seconds: what fits into 64 bits of nanoseconds, as in Mesos.
const MAX_FAILOVER_SECONDS: f64 = (i64::MAX / 1_000_000_000) as f64;

impl TryFrom<&wire::FrameworkInfo> for FrameworkInfo {
    type Error = ConvertError;
    fn try_from(info: &wire::FrameworkInfo) -> Result<Self, ConvertError> {
        let capabilities = capabilities(info);
        // An empty id is none: so do clients of Mesos subscribe for the first time.
        let id = info.id.as_ref().filter(|id| !id.value.is_empty());
        Ok(Self {
            id: id.map(TryInto::try_into).transpose().within("id")?,
            name: info.name.clone(),
            user: info.user.clone(),
            roles: roles(info, capabilities.contains(&Capability::MultiRole))?,
            capabilities,
            failover_timeout: failover_timeout(info.failover_timeout())?,
            principal: info.principal.clone(),
            hostname: info.hostname().to_owned(),
            webui_url: info.webui_url.clone(),
            original: info.encode_to_vec().into(),
        })
    }
}

/// The message it came as, with what has changed since. An original that cannot be read counts as none.
impl From<&FrameworkInfo> for wire::FrameworkInfo {
    fn from(framework: &FrameworkInfo) -> Self {
        let mut info = Self::decode(framework.original.clone()).unwrap_or_default();
        let came = FrameworkInfo::try_from(&info).ok();
        let came = came.as_ref();
        info.id = framework.id.as_ref().map(Into::into);
        info.name.clone_from(&framework.name);
        info.user.clone_from(&framework.user);
        info.principal.clone_from(&framework.principal);
        info.webui_url.clone_from(&framework.webui_url);
        if came.map(|came| &came.capabilities) != Some(&framework.capabilities) {
            info.capabilities = framework
                .capabilities
                .iter()
                .map(|can| capability(*can))
                .collect();
        }
        let roles = |came: &FrameworkInfo| (came.roles.clone(), came.can(Capability::MultiRole));
        if came.map(roles) != Some(roles(framework)) {
            set_roles(&mut info, framework);
        }
        if came.map(|came| came.failover_timeout) != Some(framework.failover_timeout) {
            info.failover_timeout = Some(framework.failover_timeout.as_secs_f64());
        }
        if info.hostname() != framework.hostname {
            info.hostname = Some(framework.hostname.clone());
        }
        info
    }
}

impl From<Capability> for Type {
    fn from(capability: Capability) -> Self {
        match capability {
            Capability::RevocableResources => Self::RevocableResources,
            Capability::TaskKillingState => Self::TaskKillingState,
            Capability::GpuResources => Self::GpuResources,
            Capability::SharedResources => Self::SharedResources,
            Capability::PartitionAware => Self::PartitionAware,
            Capability::MultiRole => Self::MultiRole,
            Capability::ReservationRefinement => Self::ReservationRefinement,
            Capability::RegionAware => Self::RegionAware,
            Capability::GpuFractions => Self::GpuFractions,
        }
    }
}

/// What we know of what it can; the rest is for newer masters.
fn capabilities(info: &wire::FrameworkInfo) -> BTreeSet<Capability> {
    info.capabilities
        .iter()
        .filter_map(|capability| Capability::from_name(capability.r#type().as_str_name()))
        .collect()
}

fn capability(capability: Capability) -> wire::framework_info::Capability {
    wire::framework_info::Capability {
        r#type: Some(Type::from(capability).into()),
    }
}

fn roles(info: &wire::FrameworkInfo, multi_role: bool) -> Result<BTreeSet<Role>, ConvertError> {
    if !multi_role {
        if !info.roles.is_empty() {
            let rule = "a framework without MULTI_ROLE has one 'role'";
            return Err(ConvertError::bad_value(
                "roles",
                format_args!("{:?}", info.roles),
                rule,
            ));
        }
        return Ok(BTreeSet::from([role("role", info.role())?]));
    }
    if let Some(role) = &info.role {
        return Err(ConvertError::bad_value(
            "role",
            role,
            "a framework with MULTI_ROLE has 'roles'",
        ));
    }
    let mut roles = BTreeSet::new();
    for (at, text) in info.roles.iter().enumerate() {
        if !roles.insert(role(format!("roles[{at}]"), text)?) {
            return Err(ConvertError::bad_value(
                format!("roles[{at}]"),
                text,
                "it is given twice",
            ));
        }
    }
    // None at all is possible: it gets offers once it has said that it holds some (as in Mesos).
    Ok(roles)
}

/// Without MULTI_ROLE only one role can be said: the first.
fn set_roles(info: &mut wire::FrameworkInfo, framework: &FrameworkInfo) {
    let mut names = framework.roles.iter().map(|role| role.as_str().to_owned());
    if framework.can(Capability::MultiRole) {
        info.role = None;
        info.roles = names.collect();
    } else {
        info.role = names.next();
        info.roles = Vec::new();
    }
}

/// Mesos takes a negative time as one that is over at once.
fn failover_timeout(seconds: f64) -> Result<Duration, ConvertError> {
    if seconds.is_nan() || seconds > MAX_FAILOVER_SECONDS {
        let rule = "it is a number of seconds, at most 292 years";
        return Err(ConvertError::bad_value("failover_timeout", seconds, rule));
    }
    super::duration("failover_timeout", seconds.max(0.0))
}

/// What an offer to it holds at least, by role: one of these. A role that is not in it: as the cluster has it; an empty
/// list: anything.
///
/// # Errors
/// Names the field and the value that cannot be meant.
pub fn min_allocatable(
    info: &wire::FrameworkInfo,
) -> Result<BTreeMap<Role, Vec<Amounts>>, ConvertError> {
    let mut by_role = BTreeMap::new();
    for (name, filters) in &info.offer_filters {
        let path = format!("offer_filters[{name:?}]");
        let role = role(path.as_str(), name)?;
        let Some(least) = &filters.min_allocatable_resources else {
            continue;
        };
        let path = format!("{path}.min_allocatable_resources");
        let count = least.quantities.len();
        if count > MAX_MIN_ALLOCATABLE {
            let rule = "at most 100 sets of quantities are taken";
            return Err(ConvertError::bad_value(path, count, rule));
        }
        let sets = least.quantities.iter().enumerate();
        let sets: Result<_, _> = sets
            .map(|(at, set)| quantities(set).within(format_args!("{path}.quantities[{at}]")))
            .collect();
        by_role.insert(role, sets?);
    }
    Ok(by_role)
}

fn quantities(set: &wire::offer_filters::ResourceQuantities) -> Result<Amounts, ConvertError> {
    if set.quantities.is_empty() {
        let rule = "it names at least one quantity";
        return Err(ConvertError::bad_value("quantities", "{}", rule));
    }
    let mut sum = Resources::none();
    for (name, amount) in &set.quantities {
        let mut resource = wire::Resource {
            name: name.clone(),
            scalar: Some(*amount),
            ..wire::Resource::default()
        };
        resource.set_type(wire::value::Type::Scalar);
        let read = resources::from_wire(std::slice::from_ref(&resource));
        sum.add(&read.within(format_args!("quantities[{name:?}]"))?);
    }
    Ok(Amounts::from(&sum))
}
