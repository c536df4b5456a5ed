//! What tools ask of an agent over Mesos' v1 operator API: `GET_…`, LIST_FILES, READ_FILE.

mod metrics; // the agent as numbers, in the names of Mesos
mod state; // frameworks, executors, tasks, containers

use std::sync::Arc;

use axum::http::StatusCode;
use mete_agent_core::View;
use mete_daemon::aside;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use mete_daemon::telemetry;
use mete_proto::MESOS_VERSION;
use mete_proto::convert::agent::domain_info;
use mete_proto::convert::{attributes, resources, time_info};
use mete_proto::mesos::v1 as wire;
use wire::agent::call::Type;
use wire::agent::{Call, Response, response};

use super::About;
use super::files;
pub(super) use metrics::snapshot;

/// A response with one part.
macro_rules! told {
    ($kind:ident, $field:ident, $part:expr) => {
        Response {
            r#type: Some(response::Type::$kind.into()),
            $field: Some($part),
            ..Response::default()
        }
    };
}

/// The answer to a question; `None` when the call is none.
///
/// # Errors
/// A part is missing, or the file that is asked for is not to be had.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other calls want something done"
)]
pub(super) async fn answer(about: &Arc<About>, call: &Call) -> Result<Option<Response>, HttpError> {
    let view = about.handle.view();
    Ok(Some(match call.r#type() {
        Type::GetHealth => {
            let health = response::GetHealth { healthy: true };
            told!(GetHealth, get_health, health)
        }
        Type::GetFlags => told!(GetFlags, get_flags, flags(about)),
        Type::GetVersion => told!(GetVersion, get_version, version()),
        Type::GetMetrics => {
            let about = Arc::clone(about);
            let numbers = aside::run(move || snapshot(&about, &view)).await?;
            let metrics = numbers.into_iter().map(|(name, value)| {
                let value = Some(value);
                wire::Metric { name, value }
            });
            let metrics = metrics.collect();
            told!(GetMetrics, get_metrics, response::GetMetrics { metrics })
        }
        Type::GetLoggingLevel => {
            let level = telemetry::verbosity();
            let level = response::GetLoggingLevel { level };
            told!(GetLoggingLevel, get_logging_level, level)
        }
        Type::ListFiles => told!(ListFiles, list_files, list(about, call).await?),
        Type::ReadFile => told!(ReadFile, read_file, read(about, call).await?),
        Type::GetState => told!(GetState, get_state, state::all(&view)),
        Type::GetFrameworks => told!(GetFrameworks, get_frameworks, state::frameworks(&view)),
        Type::GetExecutors => told!(GetExecutors, get_executors, state::executors(&view)),
        Type::GetTasks => told!(GetTasks, get_tasks, state::tasks(&view)),
        Type::GetContainers => {
            let look = about.statistics.fresh().await;
            let wanted = call.get_containers.unwrap_or_default();
            let containers = state::containers(&view, &look, wanted.show_nested());
            told!(GetContainers, get_containers, containers)
        }
        Type::GetAgent => told!(GetAgent, get_agent, agent(about, &view)),
        // Neither is there ever one.
        Type::GetOperations => {
            let none = response::GetOperations::default();
            told!(GetOperations, get_operations, none)
        }
        Type::GetResourceProviders => {
            let none = response::GetResourceProviders::default();
            told!(GetResourceProviders, get_resource_providers, none)
        }
        _ => return Ok(None),
    }))
}

fn version() -> response::GetVersion {
    let built = mesos_http::built();
    response::GetVersion {
        version_info: wire::VersionInfo {
            version: MESOS_VERSION.to_owned(),
            build_date: Some(built.date),
            build_time: Some(built.time),
            build_user: Some(built.user.to_owned()),
            ..wire::VersionInfo::default()
        },
    }
}

/// What the agent was started with, by the names of Mesos.
fn flags(about: &About) -> response::GetFlags {
    let flags = about.flags().into_iter().map(|(name, value)| wire::Flag {
        name: name.to_owned(),
        value: Some(value),
    });
    response::GetFlags {
        flags: flags.collect(),
    }
}

fn agent(about: &About, view: &View) -> response::GetAgent {
    let drain = super::drain(view);
    let info = wire::AgentInfo {
        hostname: about.endpoint.hostname.clone(),
        ip: Some(about.endpoint.ip.clone()),
        port: Some(about.endpoint.port.into()),
        resources: resources::to_endpoints(about.resources(view)),
        attributes: attributes::to_wire(&about.attributes.borrow()),
        id: view.agent.as_ref().map(Into::into),
        domain: about.domain.as_ref().map(domain_info),
    };
    response::GetAgent {
        agent_info: Some(info),
        drain_config: drain.as_ref().map(super::drain_config),
        estimated_drain_start_time: drain.map(|drain| time_info(drain.since)),
    }
}

fn missing(part: &str) -> HttpError {
    HttpError::bad_request(format!("{part} is missing"))
}

async fn list(about: &About, call: &Call) -> Result<response::ListFiles, HttpError> {
    let list = call.list_files.as_ref();
    let path = &list.ok_or_else(|| missing("list_files"))?.path;
    let entries = files::entries(about, path).await?;
    let file_infos = entries.into_iter().map(|one| wire::FileInfo {
        path: one.path,
        nlink: i32::try_from(one.entry.links).ok(),
        size: Some(one.entry.size),
        mtime: Some(wire::TimeInfo {
            nanoseconds: one.entry.modified_seconds.saturating_mul(1_000_000_000),
        }),
        mode: Some(one.entry.mode),
        uid: Some(one.user),
        gid: Some(one.group),
    });
    Ok(response::ListFiles {
        file_infos: file_infos.collect(),
    })
}

async fn read(about: &About, call: &Call) -> Result<response::ReadFile, HttpError> {
    let part = call.read_file.as_ref();
    let part = part.ok_or_else(|| missing("read_file"))?;
    let offset = i64::try_from(part.offset)
        .map_err(|_| HttpError::new(StatusCode::BAD_REQUEST, "offset is beyond any file"))?;
    let length = part
        .length
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let chunk = files::chunk(about, part.path.clone(), offset, length).await?;
    Ok(response::ReadFile {
        size: chunk.size,
        data: chunk.data.into(),
    })
}
