//! Where operators and tools ask and order: `POST /api/v1`.
//!
//! ```text
//! GET_…      ─▶ 200 and a Response, made from the published view by a thread that may take its time
//! SUBSCRIBE  ─▶ 200 and records: see `watch`
//! all others ─▶ 200 or 202 without a body once they are stored, or why not
//! ```

mod answers; // what is asked for, but for the state
mod metrics; // the cluster as numbers, in the names of Mesos
mod operations; // operations that are done and not acknowledged
mod orders; // what is to change, in words of the core
mod state; // agents, frameworks, tasks, executors
mod tasks; // those of GET_TASKS, as protobuf
mod watch; // the stream of what happens

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, middleware};
use mete_daemon::aside;
use mete_daemon::auth::Principal;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http::{self, list};
use mete_daemon::telemetry;
use mete_master_core::{Input, OperationKind, OperatorError, View};
use mete_proto::convert::{ConvertError, duration_of};
use mete_proto::encoded;
use mete_proto::json::number_of;
use mete_proto::media::Media;
use mete_proto::mesos::v1::master::call::{self, Type};
use mete_proto::mesos::v1::master::{self as wire, Call, response};
use prost::Message as _;

use super::refusal::Refusal;
use super::request;
use crate::grpc::{About, Desk};
use crate::orders::{self as house_orders, OrderError};
use crate::sums::Sums;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Door {
    desk: Desk,
    about: Arc<About>,
    watchers: watch::Watchers,
}

pub(super) fn routes(desk: Desk, about: Arc<About>) -> Router {
    let watchers = watch::Watchers::start(&desk.handle);
    let door = Door {
        desk,
        about,
        watchers,
    };
    let snapshot = mesos_http::read(metrics::page).layer(middleware::from_fn(mesos_http::jsonp));
    Router::new()
        .route("/api/v1", any(take))
        .route("/metrics/snapshot", snapshot)
        .with_state(door)
}

async fn take(State(door): State<Door>, request: Request) -> Result<Response, Refusal> {
    let caller = request.extensions().get::<Principal>().cloned();
    let (headers, call): (HeaderMap, Call) = request::read(request).await?;
    request::has_type(call.r#type.map(Type::try_from))?;
    let accepted = || Media::accepted(list(&headers, &ACCEPT).as_deref());
    let kind = call.r#type();
    if kind == Type::Unknown {
        return Err(unknown(&call));
    }
    if kind == Type::Subscribe {
        return Ok(door.watchers.subscribe(accepted()?).await);
    }
    if is_question(kind) {
        return answer(door, call, accepted()?).await;
    }
    order(&door, &call, caller.as_ref()).await
}

fn unknown(call: &Call) -> Refusal {
    let number = call.r#type.unwrap_or_default();
    let why = format!("call {number} is not known here");
    Refusal::with(StatusCode::NOT_IMPLEMENTED, why)
}

/// Whether a call only asks.
const fn is_question(kind: Type) -> bool {
    match kind {
        Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetMetrics
        | Type::GetLoggingLevel
        | Type::ListFiles
        | Type::ReadFile
        | Type::GetState
        | Type::GetAgents
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetMaster
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule
        | Type::GetQuota => true,
        Type::Unknown
        | Type::SetLoggingLevel
        | Type::UpdateWeights
        | Type::Subscribe
        | Type::ReserveResources
        | Type::UnreserveResources
        | Type::CreateVolumes
        | Type::DestroyVolumes
        | Type::GrowVolume
        | Type::ShrinkVolume
        | Type::UpdateMaintenanceSchedule
        | Type::StartMaintenance
        | Type::StopMaintenance
        | Type::DrainAgent
        | Type::DeactivateAgent
        | Type::ReactivateAgent
        | Type::UpdateQuota
        | Type::SetQuota
        | Type::RemoveQuota
        | Type::Teardown
        | Type::MarkAgentGone => false,
    }
}

/// Made and written aside: it can be megabytes.
async fn answer(door: Door, call: Call, media: Media) -> Result<Response, Refusal> {
    let view = door.desk.handle.view();
    let written = aside::run(move || {
        if let Some(answer) = large(&view, call.r#type()) {
            return Ok(match media {
                Media::Protobuf => answer,
                Media::Json => vec![media.encode_from::<wire::Response>(answer.concat())],
            });
        }
        let answer = respond(&view, &door, &call);
        answer.map(|answer| vec![media.encode(&answer)])
    });
    let written = written.await.map_err(|not_done| {
        let HttpError {
            status, message, ..
        } = not_done.into();
        Refusal::with(status, message)
    })??;
    Ok(([(CONTENT_TYPE, media.name())], body(written)).into_response())
}

/// A body of these pieces, which are not put together first: that would take as long as to write them.
fn body(pieces: Vec<Vec<u8>>) -> Response {
    let length: usize = pieces.iter().map(Vec::len).sum();
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
    let pieces = pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
    let body = Body::from_stream(futures::stream::iter(pieces));
    ([(CONTENT_LENGTH, length)], body).into_response()
}

/// Responses that can be many megabytes, written as protobuf.
fn large(view: &View, kind: Type) -> Option<Vec<Vec<u8>>> {
    const GET_STATE: u32 = number_of::<wire::Response>("get_state");
    const GET_TASKS: u32 = number_of::<wire::Response>("get_tasks");
    let (kind, number, part) = if kind == Type::GetState {
        (response::Type::GetState, GET_STATE, state::all(view))
    } else if kind == Type::GetTasks {
        (response::Type::GetTasks, GET_TASKS, tasks::all(view))
    } else {
        return None;
    };
    let bare = wire::Response {
        r#type: Some(kind.into()),
        ..wire::Response::default()
    };
    let mut head = bare.encode_to_vec();
    head.append(&mut encoded::head_of(number, &part));
    Some(std::iter::once(head).chain(part).collect())
}

/// A response with one part.
macro_rules! told {
    ($kind:ident, $field:ident, $part:expr) => {
        wire::Response {
            r#type: Some(response::Type::$kind.into()),
            $field: Some($part),
            ..wire::Response::default()
        }
    };
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "is_question has told questions from orders"
)]
fn respond(view: &View, door: &Door, call: &Call) -> Result<wire::Response, Refusal> {
    let about = &door.about;
    let sums = || Sums::of(view);
    Ok(match call.r#type() {
        Type::GetHealth => {
            let health = response::GetHealth { healthy: true };
            told!(GetHealth, get_health, health)
        }
        Type::GetFlags => told!(GetFlags, get_flags, answers::flags(about)),
        Type::GetVersion => told!(GetVersion, get_version, answers::version()),
        Type::GetMetrics => {
            part(call.get_metrics.as_ref(), "get_metrics")?;
            told!(
                GetMetrics,
                get_metrics,
                answers::metrics(metrics::snapshot(view, door))
            )
        }
        Type::GetLoggingLevel => {
            let level = telemetry::verbosity();
            let level = response::GetLoggingLevel { level };
            told!(GetLoggingLevel, get_logging_level, level)
        }
        Type::GetAgents => told!(GetAgents, get_agents, state::agents(view, &sums())),
        Type::GetFrameworks => {
            told!(
                GetFrameworks,
                get_frameworks,
                state::frameworks(view, &sums())
            )
        }
        Type::GetExecutors => told!(GetExecutors, get_executors, state::executors(view)),
        Type::GetOperations => told!(GetOperations, get_operations, operations::all(view)),
        Type::GetRoles => told!(GetRoles, get_roles, answers::roles(view)),
        Type::GetWeights => told!(GetWeights, get_weights, answers::weights(view)),
        Type::GetMaster => told!(GetMaster, get_master, answers::master(view, about)),
        Type::GetMaintenanceStatus => {
            let status = answers::maintained(view);
            told!(GetMaintenanceStatus, get_maintenance_status, status)
        }
        Type::GetMaintenanceSchedule => {
            let schedule = answers::schedule(view);
            told!(GetMaintenanceSchedule, get_maintenance_schedule, schedule)
        }
        Type::GetQuota => told!(GetQuota, get_quota, answers::quota(view)),
        Type::ListFiles => {
            return Err(no_file(&part(call.list_files.as_ref(), "list_files")?.path));
        }
        Type::ReadFile => return Err(no_file(&part(call.read_file.as_ref(), "read_file")?.path)),
        _ => return Err(unknown(call)),
    })
}

/// The master logs to where its standard error leads, and has no files that others may read.
fn no_file(path: &str) -> Refusal {
    Refusal::with(
        StatusCode::NOT_FOUND,
        format!("the master shows no file {path}"),
    )
}

fn part<'a, T>(part: Option<&'a T>, name: &'static str) -> Result<&'a T, OrderError> {
    part.ok_or_else(|| ConvertError::missing(name).into())
}

async fn order(door: &Door, call: &Call, caller: Option<&Principal>) -> Result<Response, Refusal> {
    if call.r#type() == Type::SetLoggingLevel {
        set_level(part(call.set_logging_level.as_ref(), "set_logging_level")?)?;
        return Ok(StatusCode::OK.into_response());
    }
    if let Some(reserve) = &call.reserve_resources {
        house_orders::in_own_name(&reserve.resources, caller)?;
    }
    if let Some(create) = &call.create_volumes {
        house_orders::in_own_name(&create.volumes, caller)?;
    }
    let input = input(&door.desk.handle.view(), call)?;
    let answer = house_orders::carry_out(&door.desk.handle, input).await;
    answer.map_err(|error| refused(call.r#type(), error))?;
    Ok(done(call.r#type()).into_response())
}

/// As in Mesos, UPDATE_QUOTA that promises more than there is makes no sense, nor does naming who is not there, but for
/// MARK_AGENT_GONE; everything else is as on other paths.
fn refused(kind: Type, error: OrderError) -> Refusal {
    let promises_too_much = matches!(
        error,
        OrderError::Refused(OperatorError::GuaranteesOverCapacity { .. })
    );
    let is_draining = matches!(error, OrderError::Refused(OperatorError::AgentDraining(_)));
    if promises_too_much && kind == Type::UpdateQuota {
        Refusal::bad(error.to_string())
    } else if is_draining && kind == Type::ReactivateAgent {
        Refusal::bad("Agent is still in the DRAINING state") // compared word for word by tools
    } else if kind == Type::MarkAgentGone {
        error.into()
    } else {
        error.answer_of_mesos().into()
    }
}

/// As in Mesos, what changes resources of an agent is accepted; the rest is done.
fn done(kind: Type) -> StatusCode {
    let about_resources = [
        Type::ReserveResources,
        Type::UnreserveResources,
        Type::CreateVolumes,
        Type::DestroyVolumes,
        Type::GrowVolume,
        Type::ShrinkVolume,
    ];
    match about_resources.contains(&kind) {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    }
}

fn set_level(set: &call::SetLoggingLevel) -> Result<(), OrderError> {
    let span = duration_of("set_logging_level.duration", set.duration)?;
    telemetry::set_verbosity(set.level, span).map_err(|bad| OrderError::Bad(bad.to_string()))
}

/// What the cluster is asked to do.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "is_question has told questions from orders"
)]
fn input(view: &View, call: &Call) -> Result<Input, OrderError> {
    Ok(match call.r#type() {
        Type::UpdateWeights => {
            orders::weights(part(call.update_weights.as_ref(), "update_weights")?)?
        }
        Type::UpdateQuota => orders::quotas(part(call.update_quota.as_ref(), "update_quota")?)?,
        Type::SetQuota => {
            let set = part(call.set_quota.as_ref(), "set_quota")?;
            house_orders::quota_request(view, &set.quota_request)?
        }
        Type::RemoveQuota => {
            orders::no_quota(view, part(call.remove_quota.as_ref(), "remove_quota")?)?
        }
        Type::UpdateMaintenanceSchedule => {
            let field = "update_maintenance_schedule";
            orders::schedule(part(call.update_maintenance_schedule.as_ref(), field)?)?
        }
        Type::StartMaintenance => {
            let start = part(call.start_maintenance.as_ref(), "start_maintenance")?;
            Input::MachinesDown(orders::machines(&start.machines)?)
        }
        Type::StopMaintenance => {
            let stop = part(call.stop_maintenance.as_ref(), "stop_maintenance")?;
            Input::MachinesUp(orders::machines(&stop.machines)?)
        }
        Type::DrainAgent => orders::drain(part(call.drain_agent.as_ref(), "drain_agent")?)?,
        Type::DeactivateAgent => {
            let named = part(call.deactivate_agent.as_ref(), "deactivate_agent")?;
            let agent = orders::agent(&named.agent_id)?;
            Input::DeactivateAgent { agent }
        }
        Type::ReactivateAgent => {
            let named = part(call.reactivate_agent.as_ref(), "reactivate_agent")?;
            let agent = orders::agent(&named.agent_id)?;
            Input::ReactivateAgent { agent }
        }
        Type::MarkAgentGone => {
            let named = part(call.mark_agent_gone.as_ref(), "mark_agent_gone")?;
            let agent = orders::agent(&named.agent_id)?;
            Input::MarkAgentGone { agent }
        }
        Type::Teardown => orders::teardown(part(call.teardown.as_ref(), "teardown")?)?,
        _ => reshape(call)?,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all others have been looked at"
)]
fn reshape(call: &Call) -> Result<Input, OrderError> {
    use OperationKind::{Create, Destroy, Reserve, Unreserve};
    match call.r#type() {
        Type::ReserveResources => {
            let part = part(call.reserve_resources.as_ref(), "reserve_resources")?;
            orders::reshape(&part.agent_id, Reserve, &part.resources, "resources")
        }
        Type::UnreserveResources => {
            let part = part(call.unreserve_resources.as_ref(), "unreserve_resources")?;
            orders::reshape(&part.agent_id, Unreserve, &part.resources, "resources")
        }
        Type::CreateVolumes => {
            let part = part(call.create_volumes.as_ref(), "create_volumes")?;
            orders::reshape(&part.agent_id, Create, &part.volumes, "volumes")
        }
        Type::DestroyVolumes => {
            let part = part(call.destroy_volumes.as_ref(), "destroy_volumes")?;
            orders::reshape(&part.agent_id, Destroy, &part.volumes, "volumes")
        }
        Type::GrowVolume => orders::grow(part(call.grow_volume.as_ref(), "grow_volume")?),
        Type::ShrinkVolume => orders::shrink(part(call.shrink_volume.as_ref(), "shrink_volume")?),
        kind => Err(OrderError::Bad(format!(
            "{} is no order",
            kind.as_str_name()
        ))),
    }
}
