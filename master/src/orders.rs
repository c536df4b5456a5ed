//! What operators want, over HTTP and gRPC alike: read, asked of the cluster, and what they are told when it cannot be.

use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::http::StatusCode;
use mete_daemon::auth::Principal;
use mete_daemon::event_loop::{Gone, Handle};
use mete_daemon::http_error::HttpError;
use mete_master_core::{Input, MachineId, OperatorError, Policy, Reply, RoleQuota, View};
use mete_model::Role;
use mete_proto::convert::ConvertError;
use mete_proto::mesos::v1 as wire;
use tonic::Status;

use crate::amounts;
use crate::rounds::Timed;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// The order makes no sense.
    #[error("{0}")]
    Bad(String),
    /// The cluster refuses it.
    #[error(transparent)]
    Refused(#[from] OperatorError),
    /// What it is about is not there.
    #[error("{0}")]
    Missing(String),
    /// The master ends.
    #[error("the master is shutting down")]
    Leaving(#[from] Gone),
    /// The cluster answered something else: a fault of this program.
    #[error("the answer was to another question")]
    Confused,
}

impl From<ConvertError> for OrderError {
    fn from(error: ConvertError) -> Self {
        Self::Bad(error.to_string())
    }
}

/// Asks the cluster, and waits until what follows is stored.
pub(crate) async fn carry_out(handle: &Handle<Timed>, input: Input) -> Result<(), OrderError> {
    match handle.ask(input).await? {
        Reply::Done => Ok(()),
        Reply::Failed(error) => Err(error.into()),
        Reply::Subscribed(_) | Reply::Registered(_) | Reply::Refused(_) | Reply::Snapshot(_) => {
            Err(OrderError::Confused)
        }
    }
}

/// A role by name.
pub(crate) fn role(text: &str) -> Result<Role, OrderError> {
    Role::new(text).map_err(|bad| OrderError::Bad(bad.to_string()))
}

/// A quota in Mesos' older form, where limit and guarantee are the same. As there, it is for roles without quota.
pub(crate) fn quota_request(
    view: &View,
    request: &wire::quota::QuotaRequest,
) -> Result<Input, OrderError> {
    let role = role(request.role())?;
    if has_quota(view, &role) {
        let why = format!("role {role} has a quota already; change it with PUT /quota/{role}");
        return Err(OrderError::Bad(why));
    }
    let amounts = amounts::within(amounts::from_wire(&request.guarantee), "guarantee")?;
    if amounts.is_none() {
        let why = format!("the guarantee of role {role} names nothing");
        return Err(OrderError::Bad(why));
    }
    let quota = RoleQuota {
        limit: amounts.clone(),
        guarantee: amounts,
    };
    Ok(quota.for_role(role, request.force()))
}

/// Whether something is set for a role.
pub(crate) fn has_quota(view: &View, role: &Role) -> bool {
    view.limits.contains_key(role) || view.guarantees.contains_key(role)
}

/// A policy by name.
pub(crate) fn policy(text: &str) -> Result<Policy, OrderError> {
    text.parse()
        .map_err(|bad: <Policy as std::str::FromStr>::Err| OrderError::Bad(bad.to_string()))
}

/// A weight in thousandths; finer ones, a third say, are rounded.
pub(crate) fn weight(weight: f64) -> Result<NonZeroU32, OrderError> {
    let milli = (weight * 1e3).round();
    let within = (1.0..=f64::from(u32::MAX)).contains(&milli);
    let milli = within.then_some(milli as u32).and_then(NonZeroU32::new);
    milli.ok_or_else(|| OrderError::Bad(format!("weight {weight} is not from 0.001 to 4294967")))
}

/// A machine by name, address, or both.
pub(crate) fn machine(
    hostname: Option<String>,
    ip: Option<String>,
) -> Result<MachineId, OrderError> {
    let address = ip.as_deref().filter(|ip| !ip.is_empty());
    if let Some(bad) = address.filter(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(OrderError::Bad(format!("ip {bad:?} is no address")));
    }
    MachineId::new(hostname, ip).map_err(|bad| OrderError::Bad(bad.to_string()))
}

/// What an error is to HTTP and to gRPC.
impl OrderError {
    fn codes(&self) -> (StatusCode, tonic::Code) {
        match self {
            Self::Bad(_) => BAD,
            Self::Refused(error) => match error {
                OperatorError::UnknownAgent(_) | OperatorError::UnknownFramework(_) => MISSING,
                OperatorError::NotTopLevel(_)
                | OperatorError::AnyRole
                | OperatorError::GuaranteeOverLimit { .. }
                | OperatorError::Schedule(_) => BAD,
                OperatorError::Operation(error) if error.is_about_the_order() => BAD,
                OperatorError::LimitUnderUse { .. }
                | OperatorError::GuaranteesOverCapacity { .. }
                | OperatorError::TooManyRoles
                | OperatorError::Operation(_)
                | OperatorError::AgentAway(_)
                | OperatorError::AgentGone(_)
                | OperatorError::AgentDraining(_) => CONFLICT,
            },
            Self::Missing(_) => MISSING,
            Self::Leaving(_) => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable),
            Self::Confused => (StatusCode::INTERNAL_SERVER_ERROR, tonic::Code::Internal),
        }
    }
}

impl OrderError {
    /// As Mesos answers who names an agent or a framework that is not there: with 400.
    pub(crate) fn answer_of_mesos(self) -> HttpError {
        match self.codes() {
            MISSING => HttpError::bad_request(self.to_string()),
            _ => self.into(),
        }
    }
}

/// Whoever has a name reserves and makes volumes in that, or in nobody's.
///
/// # Errors
/// Names both, when another stands there.
pub(crate) fn in_own_name(
    named: &[wire::Resource],
    caller: Option<&Principal>,
) -> Result<(), OrderError> {
    let Some(caller) = caller.filter(|caller| caller.has_own_secret()) else {
        return Ok(());
    };
    let names = named.iter().flat_map(|resource| {
        let plain = resource.reservation.as_ref();
        let reservation = resource.reservations.last().or(plain);
        let disk = resource.disk.as_ref();
        let volume = disk.and_then(|disk| disk.persistence.as_ref());
        [
            reservation.and_then(|one| one.principal.as_deref()),
            volume.and_then(|one| one.principal.as_deref()),
        ]
    });
    let is_other = |name: &&str| **name != *caller.name;
    match names.flatten().find(is_other) {
        Some(other) => Err(OrderError::Bad(format!(
            "the caller is {}, and the principal of a resource is {other}",
            caller.name
        ))),
        None => Ok(()),
    }
}

const BAD: (StatusCode, tonic::Code) = (StatusCode::BAD_REQUEST, tonic::Code::InvalidArgument);
const MISSING: (StatusCode, tonic::Code) = (StatusCode::NOT_FOUND, tonic::Code::NotFound);
const CONFLICT: (StatusCode, tonic::Code) = (StatusCode::CONFLICT, tonic::Code::FailedPrecondition);

impl From<OrderError> for HttpError {
    fn from(error: OrderError) -> Self {
        Self::new(error.codes().0, error.to_string())
    }
}

impl From<OrderError> for Status {
    fn from(error: OrderError) -> Self {
        Self::new(error.codes().1, error.to_string())
    }
}
