//! Where operators' tools connect: weights, quotas, agents marked gone, frameworks torn down.

use std::num::NonZeroU32;

use mete_master_core::{Amounts, Input, OperatorError, Reply};
use mete_model::{Resources, Role};
use mete_proto::convert::{ConvertError, Within as _, resources};
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::operator_server::Operator;
use tonic::{Request, Response, Status};

use crate::grpc::Desk;
use crate::grpc::framework::leaving;

/// `mete.v1.Operator`.
#[derive(Clone, Debug)]
pub(crate) struct Operators(pub(crate) Desk);

#[tonic::async_trait]
impl Operator for Operators {
    async fn get_weights(
        &self,
        _request: Request<wire::GetWeightsRequest>,
    ) -> Result<Response<wire::GetWeightsResponse>, Status> {
        let view = self.0.handle.view();
        let weights = view.weights.iter();
        let weights = weights.map(|(role, milli)| (role.to_string(), f64::from(milli.get()) / 1e3));
        Ok(Response::new(wire::GetWeightsResponse {
            weights: weights.collect(),
        }))
    }

    async fn set_weight(
        &self,
        request: Request<wire::SetWeightRequest>,
    ) -> Result<Response<wire::SetWeightResponse>, Status> {
        let wire::SetWeightRequest { role, weight } = request.into_inner();
        let (role, weight_milli) = (role_of(&role)?, milli(weight)?);
        self.done(Input::SetWeight { role, weight_milli }).await?;
        Ok(Response::new(wire::SetWeightResponse {}))
    }

    async fn get_quotas(
        &self,
        _request: Request<wire::GetQuotasRequest>,
    ) -> Result<Response<wire::GetQuotasResponse>, Status> {
        let view = self.0.handle.view();
        let quotas = view.limits.iter().map(|(role, limit)| wire::Quota {
            role: role.to_string(),
            limit: to_wire(limit),
        });
        Ok(Response::new(wire::GetQuotasResponse {
            quotas: quotas.collect(),
        }))
    }

    async fn set_quota(
        &self,
        request: Request<wire::SetQuotaRequest>,
    ) -> Result<Response<wire::SetQuotaResponse>, Status> {
        let quota = request.into_inner().quota;
        let limit = limit_of(&quota).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let role = role_of(&quota.role)?;
        self.done(Input::SetLimit { role, limit }).await?;
        Ok(Response::new(wire::SetQuotaResponse {}))
    }

    async fn mark_agent_gone(
        &self,
        request: Request<wire::MarkAgentGoneRequest>,
    ) -> Result<Response<wire::MarkAgentGoneResponse>, Status> {
        let agent = (&request.into_inner().agent_id).try_into();
        let agent = agent.within("agent_id").map_err(bad)?;
        self.done(Input::MarkAgentGone { agent }).await?;
        Ok(Response::new(wire::MarkAgentGoneResponse {}))
    }

    async fn teardown_framework(
        &self,
        request: Request<wire::TeardownFrameworkRequest>,
    ) -> Result<Response<wire::TeardownFrameworkResponse>, Status> {
        let framework = (&request.into_inner().framework_id).try_into();
        let framework = framework.within("framework_id").map_err(bad)?;
        self.done(Input::TearDown { framework }).await?;
        Ok(Response::new(wire::TeardownFrameworkResponse {}))
    }
}

impl Operators {
    async fn done(&self, input: Input) -> Result<(), Status> {
        match self.0.handle.ask(input).await.map_err(leaving)? {
            Reply::Done => Ok(()),
            Reply::Failed(error) => Err(status(&error)),
            Reply::Subscribed(_) | Reply::Registered(_) | Reply::Refused(_) => {
                Err(Status::internal("the answer was to another question"))
            }
        }
    }
}

fn status(error: &OperatorError) -> Status {
    match error {
        OperatorError::UnknownAgent(_) | OperatorError::UnknownFramework(_) => {
            Status::not_found(error.to_string())
        }
        OperatorError::NotTopLevel(_) | OperatorError::AnyRole => {
            Status::invalid_argument(error.to_string())
        }
    }
}

fn bad(error: ConvertError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn role_of(text: &str) -> Result<Role, Status> {
    Role::new(text).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

/// A weight in thousandths.
fn milli(weight: f64) -> Result<NonZeroU32, Status> {
    let milli = (weight * 1e3).round();
    let within = milli >= 1.0 && milli <= f64::from(u32::MAX);
    let milli = within.then_some(milli as u32).and_then(NonZeroU32::new);
    milli.ok_or_else(|| {
        Status::invalid_argument(format!("weight {weight} is not from 0.001 to 4294967"))
    })
}

/// A limit; `None` when nothing is named. A scalar of 0 is a limit too, which [`Amounts::from`] cannot tell.
fn limit_of(quota: &wire::Quota) -> Result<Option<Amounts>, ConvertError> {
    if quota.limit.is_empty() {
        return Ok(None);
    }
    let sum = resources::from_wire(&quota.limit).within("quota")?;
    if !sum.ports.is_empty() {
        return Err(ConvertError::not_carried(
            "quota.limit",
            "limits of ports are",
        ));
    }
    let mut limit = Amounts::from(&sum);
    for named in &quota.limit {
        match named.name.as_str() {
            "cpus" => limit.cpus_milli = Some(sum.cpus_milli),
            "mem" => limit.mem_bytes = Some(sum.mem_bytes),
            "disk" => limit.disk_bytes = Some(sum.disk_bytes),
            "gpus" => limit.gpus_milli = Some(sum.gpus_milli),
            other => {
                limit.other.insert(other.into(), sum.other(other));
            }
        }
    }
    Ok(Some(limit))
}

fn to_wire(limit: &Amounts) -> Vec<mete_proto::mesos::v1::Resource> {
    let mut list = Vec::new();
    let mut add = |name: &str, fill: &dyn Fn(&mut Resources), is_zero: bool| {
        let mut one = Resources::none();
        fill(&mut one);
        let mut wire = resources::to_wire(&one);
        if is_zero {
            // What is limited to nothing is written all the same: unnamed means unlimited.
            wire.push(mete_proto::mesos::v1::Resource {
                name: name.to_owned(),
                scalar: Some(mete_proto::mesos::v1::value::Scalar { value: 0.0 }),
                ..mete_proto::mesos::v1::Resource::default()
            });
        }
        list.append(&mut wire);
    };
    if let Some(milli) = limit.cpus_milli {
        add("cpus", &|one| one.cpus_milli = milli, milli == 0);
    }
    if let Some(bytes) = limit.mem_bytes {
        add("mem", &|one| one.mem_bytes = bytes, bytes == 0);
    }
    if let Some(bytes) = limit.disk_bytes {
        add("disk", &|one| one.disk_bytes = bytes, bytes == 0);
    }
    if let Some(milli) = limit.gpus_milli {
        add("gpus", &|one| one.gpus_milli = milli, milli == 0);
    }
    for (name, milli) in &limit.other {
        add(name, &|one| one.set_other(name, *milli), *milli == 0);
    }
    list
}
