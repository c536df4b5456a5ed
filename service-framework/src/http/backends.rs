//! `/v2/backends`: the healthy-task list, its stream, and what proxies answer.
//!
//! A follower is told what is between the version it has and the newest one, however many versions that are: whoever
//! is slow hears less often, nothing piles up for anyone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use mete_daemon::event_loop::Follower;
use mete_model::TaskId;
use mete_proto::rest::backends::{
    Ack, Acked, Acks, Backends as List, CHANGE, Change, EventId, HEARTBEAT, Heartbeat, Instance,
    InstanceState, Mode, Protocol, SNAPSHOT, Service, ServiceKey,
};
use mete_service_framework_core::backends::{self as core, BackendState, Backends, Changes};
use mete_service_framework_core::spec::app::Protocol as CoreProtocol;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::proxies::Proxy;
use mete_service_framework_core::validate::Violation;
use mete_service_framework_core::{Input, Orchestrator, ProxyAck, Reply};
use tokio_util::sync::CancellationToken;

use super::access::May;
use super::body::Said;
use super::failure::Failure;
use super::params::{InPath, Params};
use super::{Api, at};

/// After a silence of so long a follower gets a heartbeat (contracts §5).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Where a follower wants to go on.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(at("/v2/backends", get(list)))
        .merge(at("/v2/backends/acks", get(acknowledged)))
        .merge(at("/v2/backends/acks/{proxy}", put(acknowledge)))
}

async fn list(
    State(api): State<Api>,
    may: May,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if !params.switch("watch", false)? {
        return Ok(Json(snapshot(&api.handle.view().backends, &may)).into_response());
    }
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    // An id that cannot be read is of an epoch nobody knows: everything anew.
    let seen = last.and_then(|id| id.parse().ok()).unwrap_or(EventId {
        epoch: String::new(),
        version: 0,
    });
    let watcher = Watcher {
        views: api.handle.follow(),
        seen,
        may,
        is_new: true,
        stop: api.stop.clone(),
    };
    let frames = futures::stream::unfold(watcher, |mut watcher| async {
        let frame = watcher.next().await?;
        Some((Ok::<_, Infallible>(frame), watcher))
    });
    let kind = [(CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::from_stream(frames)).into_response())
}

/// One follower of the list.
struct Watcher {
    views: Follower<Orchestrator>,
    /// What it has.
    seen: EventId,
    may: May,
    is_new: bool,
    stop: CancellationToken,
}

impl Watcher {
    /// What it reads next; `None` ends it.
    async fn next(&mut self) -> Option<String> {
        if std::mem::take(&mut self.is_new) {
            let view = self.views.current();
            // One that has everything still hears at once that it is connected.
            let news = news(&mut self.seen, &view.backends, &self.may);
            return Some(news.unwrap_or_else(|| heartbeat(&self.seen)));
        }
        let silence = tokio::time::sleep(HEARTBEAT_INTERVAL);
        tokio::pin!(silence);
        loop {
            let view = tokio::select! {
                () = self.stop.cancelled() => return None,
                () = &mut silence => return Some(heartbeat(&self.seen)),
                view = self.views.changed() => view.ok()?,
            };
            if let Some(news) = news(&mut self.seen, &view.backends, &self.may) {
                return Some(news);
            }
        }
    }
}

/// The frame from what is seen to the newest version, which is seen then; `None` when they are the same, or nothing has
/// changed that may be seen.
fn news(seen: &mut EventId, list: &Backends, may: &May) -> Option<String> {
    let changes = list.changes_since(&seen.epoch, seen.version);
    let at = |version| EventId {
        epoch: list.epoch().to_owned(),
        version,
    };
    let (id, name, data) = match changes {
        Changes::None => return None,
        Changes::Snapshot { version, services } => {
            let all = List {
                epoch: list.epoch().to_owned(),
                version,
                services: shown(services.iter().map(|one| &**one), may),
            };
            (at(version), SNAPSHOT, json(&all))
        }
        Changes::Change {
            version,
            changed,
            removed,
        } => {
            let removed = removed.iter().filter(|key| may.sees(&key.app));
            let change = Change {
                epoch: list.epoch().to_owned(),
                version,
                services: shown(changed.iter().map(|one| &**one), may),
                removed: removed.map(key).collect(),
            };
            if change.services.is_empty() && change.removed.is_empty() {
                *seen = at(version);
                return None;
            }
            (at(version), CHANGE, json(&change))
        }
    };
    *seen = id;
    Some(frame(seen, name, &data))
}

fn heartbeat(seen: &EventId) -> String {
    let beat = Heartbeat {
        epoch: seen.epoch.clone(),
        version: seen.version,
    };
    frame(seen, HEARTBEAT, &json(&beat))
}

fn frame(id: &EventId, name: &str, data: &str) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them have a JSON form")
}

/// What may be seen of services.
fn shown<'a>(services: impl Iterator<Item = &'a core::Service>, may: &May) -> Vec<Service> {
    let seen = services.filter(|one| may.sees(&one.key.app));
    seen.map(service).collect()
}

fn snapshot(list: &Backends, may: &May) -> List {
    List {
        epoch: list.epoch().to_owned(),
        version: list.version(),
        services: shown(list.services().map(|one| &**one), may),
    }
}

fn key(key: &core::ServiceKey) -> ServiceKey {
    ServiceKey {
        app_id: key.app.to_string(),
        port_index: key.port_index,
        service_port: key.service_port,
    }
}

fn service(service: &core::Service) -> Service {
    Service {
        app_id: service.key.app.to_string(),
        port_index: service.key.port_index,
        service_port: service.key.service_port,
        since: time::text(service.since),
        left: service.is_left,
        protocol: match service.protocol {
            CoreProtocol::Tcp => Protocol::Tcp,
            CoreProtocol::Udp => Protocol::Udp,
            CoreProtocol::UdpTcp => Protocol::Both,
        },
        mode: match service.mode {
            core::Mode::Http => Mode::Http,
            core::Mode::Tcp => Mode::Tcp,
        },
        labels: service.labels.clone(),
        instances: service.backends.iter().map(instance).collect(),
    }
}

fn instance(backend: &core::Backend) -> Instance {
    Instance {
        task_id: backend.task.to_string(),
        host: backend.host.clone(),
        port: backend.port,
        state: match backend.state {
            BackendState::Up => InstanceState::Up,
            BackendState::Draining => InstanceState::Draining,
        },
    }
}

/// What proxies have in effect, so that one can wait for it.
async fn acknowledged(State(api): State<Api>) -> Json<Acks> {
    let view = api.handle.view();
    let acked = |(id, proxy): (&String, &Proxy)| Acked {
        proxy_id: id.clone(),
        version: proxy.version,
    };
    Json(Acks {
        epoch: view.backends.epoch().to_owned(),
        version: view.backends.version(),
        proxies: view.proxies.iter().map(acked).collect(),
    })
}

async fn acknowledge(
    State(api): State<Api>,
    InPath(proxy): InPath,
    Said(ack): Said<Ack>,
) -> Result<StatusCode, Failure> {
    let mut draining = BTreeMap::new();
    for (at, task) in ack.draining.into_iter().enumerate() {
        let id = TaskId::new(task.task_id).map_err(|bad| {
            let path = format!("/draining({at})/taskId");
            Failure::invalid(vec![Violation::new(path, bad.to_string())])
        })?;
        draining.insert(id, task.sessions);
    }
    let input = Input::ProxyAck(ProxyAck {
        proxy,
        epoch: ack.epoch,
        version: ack.version,
        draining,
    });
    let reply = api.handle.ask(input).await?;
    if reply == Reply::Done {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(reply.into())
}
