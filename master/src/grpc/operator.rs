//! Where operators' tools connect: weights, quotas, policies, agents, machines, frameworks torn down.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use futures::stream::{self, BoxStream, StreamExt as _};
use mete_master_core::{Input, MachineId, RoleQuota, View, Window};
use mete_model::{AgentId, Resources, Tag};
use mete_proto::convert::{
    ConvertError, Within as _, duration_of, maintenance, resources, time_info,
};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::operator_server::Operator;
use tonic::{Request, Response, Status};
use wire::get_maintenance_response::{Answer, Draining};

use crate::amounts;
use crate::grpc::Desk;
use crate::http::explain::Explainers;
use crate::orders::{self, OrderError};

/// `mete.v1.Operator`.
#[derive(Clone, Debug)]
pub(crate) struct Operators(pub(crate) Desk, pub(crate) Explainers);

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Operator for Operators {
    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Answered<wire::ExplainResponse> {
        let answer = self.1.explain_in_words(request.into_inner()).await;
        let answer = answer.map_err(|error| match error.status {
            StatusCode::NOT_FOUND => Status::not_found(error.message),
            StatusCode::CONFLICT => Status::failed_precondition(error.message),
            StatusCode::SERVICE_UNAVAILABLE => Status::unavailable(error.message),
            _ => Status::invalid_argument(error.message),
        })?;
        Ok(Response::new(wire::ExplainResponse {
            json: answer.to_string(),
        }))
    }

    type GetReservedStream = BoxStream<'static, Result<wire::GetReservedResponse, Status>>;

    async fn get_reserved(
        &self,
        request: Request<wire::GetReservedRequest>,
    ) -> Answered<Self::GetReservedStream> {
        let mesos::Label { key, value } = request.into_inner().label;
        let label = (key, value);
        let view = self.0.handle.view();
        let agents = view.agents.values().filter(|agent| agent.is_admitted());
        let reserved = agents.map(|agent| wire::GetReservedResponse {
            agent_id: (&agent.id).into(),
            resources: resources::to_wire(&reserved_under(&label, &agent.info.resources)),
        });
        let some = reserved.filter(|one| !one.resources.is_empty());
        let answers: Vec<_> = some.map(Ok).collect();
        Ok(Response::new(stream::iter(answers).boxed()))
    }

    async fn get_weights(
        &self,
        _request: Request<wire::GetWeightsRequest>,
    ) -> Answered<wire::GetWeightsResponse> {
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
    ) -> Answered<wire::SetWeightResponse> {
        let wire::SetWeightRequest { role, weight } = request.into_inner();
        let pair = (orders::role(&role)?, orders::weight(weight)?);
        self.done(Input::SetWeights([pair].into())).await?;
        Ok(Response::new(wire::SetWeightResponse {}))
    }

    async fn get_quotas(
        &self,
        _request: Request<wire::GetQuotasRequest>,
    ) -> Answered<wire::GetQuotasResponse> {
        let view = self.0.handle.view();
        let roles: BTreeSet<_> = view.limits.keys().chain(view.guarantees.keys()).collect();
        let quotas = roles.into_iter().map(|role| wire::Quota {
            role: role.to_string(),
            limit: view
                .limits
                .get(role)
                .map_or_else(Vec::new, amounts::to_wire),
            guarantee: view
                .guarantees
                .get(role)
                .map_or_else(Vec::new, amounts::to_wire),
        });
        Ok(Response::new(wire::GetQuotasResponse {
            quotas: quotas.collect(),
        }))
    }

    async fn set_quota(
        &self,
        request: Request<wire::SetQuotaRequest>,
    ) -> Answered<wire::SetQuotaResponse> {
        let request = request.into_inner();
        let force = request.force();
        let quota = request.quota;
        let limit = amounts::within(amounts::from_wire(&quota.limit), "quota.limit");
        let guarantee = amounts::within(amounts::from_wire(&quota.guarantee), "quota.guarantee");
        let set = RoleQuota {
            limit: limit.map_err(OrderError::from)?,
            guarantee: guarantee.map_err(OrderError::from)?,
        };
        let role = orders::role(&quota.role)?;
        self.done(set.for_role(role, force)).await?;
        Ok(Response::new(wire::SetQuotaResponse {}))
    }

    async fn get_policies(
        &self,
        _request: Request<wire::GetPoliciesRequest>,
    ) -> Answered<wire::GetPoliciesResponse> {
        let view = self.0.handle.view();
        let roles = view.policies.iter();
        let roles = roles
            .filter_map(|(role, policy)| Some((role.as_ref()?.to_string(), policy.to_string())));
        Ok(Response::new(wire::GetPoliciesResponse {
            policy: view.policy().to_string(),
            roles: roles.collect(),
        }))
    }

    async fn set_policy(
        &self,
        request: Request<wire::SetPolicyRequest>,
    ) -> Answered<wire::SetPolicyResponse> {
        let wire::SetPolicyRequest { role, policy } = request.into_inner();
        let order = Input::SetPolicy {
            role: role.as_deref().map(orders::role).transpose()?,
            policy: policy.as_deref().map(orders::policy).transpose()?,
        };
        self.done(order).await?;
        Ok(Response::new(wire::SetPolicyResponse {}))
    }

    async fn drain_agent(
        &self,
        request: Request<wire::DrainAgentRequest>,
    ) -> Answered<wire::DrainAgentResponse> {
        let request = request.into_inner();
        let deadline = request.deadline.map(|span| duration_of("deadline", span));
        let max_grace = request.max_grace_period;
        let max_grace = max_grace.map(|span| duration_of("max_grace_period", span));
        let order = Input::DrainAgent {
            agent: agent(&request.agent_id)?,
            deadline: deadline.transpose().map_err(OrderError::from)?,
            max_grace: max_grace.transpose().map_err(OrderError::from)?,
            mark_gone: request.mark_gone(),
        };
        self.done(order).await?;
        Ok(Response::new(wire::DrainAgentResponse {}))
    }

    async fn deactivate_agent(
        &self,
        request: Request<wire::DeactivateAgentRequest>,
    ) -> Answered<wire::DeactivateAgentResponse> {
        let agent = agent(&request.into_inner().agent_id)?;
        self.done(Input::DeactivateAgent { agent }).await?;
        Ok(Response::new(wire::DeactivateAgentResponse {}))
    }

    async fn reactivate_agent(
        &self,
        request: Request<wire::ReactivateAgentRequest>,
    ) -> Answered<wire::ReactivateAgentResponse> {
        let agent = agent(&request.into_inner().agent_id)?;
        self.done(Input::ReactivateAgent { agent }).await?;
        Ok(Response::new(wire::ReactivateAgentResponse {}))
    }

    async fn get_maintenance(
        &self,
        _request: Request<wire::GetMaintenanceRequest>,
    ) -> Answered<wire::GetMaintenanceResponse> {
        Ok(Response::new(maintained(&self.0.handle.view())))
    }

    async fn set_maintenance_schedule(
        &self,
        request: Request<wire::SetMaintenanceScheduleRequest>,
    ) -> Answered<wire::SetMaintenanceScheduleResponse> {
        let windows = request.into_inner().windows.into_iter().map(window);
        let windows: Result<_, OrderError> = windows.collect();
        self.done(Input::SetSchedule(windows?)).await?;
        Ok(Response::new(wire::SetMaintenanceScheduleResponse {}))
    }

    async fn start_maintenance(
        &self,
        request: Request<wire::StartMaintenanceRequest>,
    ) -> Answered<wire::StartMaintenanceResponse> {
        let machines = machines(request.into_inner().machines)?;
        self.done(Input::MachinesDown(machines)).await?;
        Ok(Response::new(wire::StartMaintenanceResponse {}))
    }

    async fn stop_maintenance(
        &self,
        request: Request<wire::StopMaintenanceRequest>,
    ) -> Answered<wire::StopMaintenanceResponse> {
        let machines = machines(request.into_inner().machines)?;
        self.done(Input::MachinesUp(machines)).await?;
        Ok(Response::new(wire::StopMaintenanceResponse {}))
    }

    async fn mark_agent_gone(
        &self,
        request: Request<wire::MarkAgentGoneRequest>,
    ) -> Answered<wire::MarkAgentGoneResponse> {
        let agent = agent(&request.into_inner().agent_id)?;
        self.done(Input::MarkAgentGone { agent }).await?;
        Ok(Response::new(wire::MarkAgentGoneResponse {}))
    }

    async fn teardown_framework(
        &self,
        request: Request<wire::TeardownFrameworkRequest>,
    ) -> Answered<wire::TeardownFrameworkResponse> {
        let framework = (&request.into_inner().framework_id).try_into();
        let framework = framework.within("framework_id").map_err(OrderError::from)?;
        self.done(Input::TearDown { framework }).await?;
        Ok(Response::new(wire::TeardownFrameworkResponse {}))
    }
}

impl Operators {
    async fn done(&self, input: Input) -> Result<(), Status> {
        Ok(orders::carry_out(&self.0.handle, input).await?)
    }
}

/// The parts that bear a label.
fn reserved_under(label: &(String, Option<String>), all: &Resources) -> Resources {
    let bears = |tag: &Tag| {
        let mut reservations = tag.reservations.iter();
        reservations.any(|one| one.labels.contains(label))
    };
    let parts = all.parts().filter(|(tag, _)| bears(tag));
    parts.fold(Resources::none(), |sum, (tag, part)| {
        sum.with_part(Tag::clone(tag), part.clone())
    })
}

fn agent(id: &mesos::AgentId) -> Result<AgentId, OrderError> {
    let agent: Result<AgentId, ConvertError> = id.try_into();
    Ok(agent.within("agent_id")?)
}

fn machines(ids: Vec<mesos::MachineId>) -> Result<BTreeSet<MachineId>, OrderError> {
    let machines = ids.into_iter();
    machines
        .map(|id| orders::machine(id.hostname, id.ip))
        .collect()
}

fn window(window: wire::Window) -> Result<Window, OrderError> {
    let machines = window.machine_ids.into_iter();
    let machines: Result<_, _> = machines
        .map(|id| orders::machine(id.hostname, id.ip))
        .collect();
    let unavailability = maintenance::from_wire(&window.unavailability);
    Ok(Window {
        machines: machines?,
        unavailability: unavailability.within("unavailability")?,
    })
}

/// The schedule as a message, with what frameworks say to it.
fn maintained(view: &View) -> wire::GetMaintenanceResponse {
    let schedule = &view.schedule;
    let windows = schedule.windows().iter().map(|window| wire::Window {
        machine_ids: window.machines.iter().map(machine_id).collect(),
        unavailability: maintenance::to_wire(window.unavailability),
    });
    let draining = schedule.draining().map(|machine| Draining {
        id: machine_id(machine),
        answers: answers(view, machine),
    });
    wire::GetMaintenanceResponse {
        windows: windows.collect(),
        draining_machines: draining.collect(),
        down_machines: schedule.down().iter().map(machine_id).collect(),
    }
}

fn answers(view: &View, machine: &MachineId) -> Vec<Answer> {
    let answers = view.answers_of(machine).into_iter();
    let answers = answers.map(|(framework, answer)| Answer {
        framework_id: framework.into(),
        accepted: answer.map(|answer| answer.accepted),
        timestamp: answer.map(|answer| time_info(answer.at)),
    });
    answers.collect()
}

fn machine_id(machine: &MachineId) -> mesos::MachineId {
    mesos::MachineId {
        hostname: machine.hostname().map(str::to_owned),
        ip: machine.ip().map(str::to_owned),
    }
}
