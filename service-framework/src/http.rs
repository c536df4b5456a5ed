//! `/v2` and what belongs to it: wire to inputs, views and replies to wire. Decides nothing.
//!
//! Reads come from the published view and hold up nobody; writes are asked of the loop and answered once they are
//! stored. Errors have the statuses and bodies of Marathon (`failure.rs`).

mod access; // what each request needs, and what a caller may
mod audit; // what is written down of each change, and /v2/audit
mod body; // JSON as Marathon reads it
mod failure; // every error, with its status and body
mod params; // what a path and a query say
mod pieces; // large answers, written as they are read
mod selector; // `label=tier in (web,api)`

mod apps; // /v2/apps: read
mod change; // /v2/apps: write
mod convert; // /v2 ↔ the core's words
mod groups; // /v2/groups
mod instances; // /v2/tasks, /v2/apps/{id}/tasks
mod pods; // /v2/pods
mod turns; // one after the other, of those who change one app

mod backends; // the healthy-task list, its stream, and the proxies' acknowledgements
mod backup; // /v2/backup
mod deployments; // /v2/deployments
mod events; // /v2/events
mod info; // /v2/info, /v2/leader, /ping
mod logging; // /logging
mod queue; // /v2/queue

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, EXPIRES, PRAGMA, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use mete_daemon::auth::Callers;
use mete_daemon::event_loop::Handle;
use mete_service_framework_core::Orchestrator;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::audit::Audit;
use crate::config::Options;
use crate::why::Why;
pub(crate) use backup::Backups;
pub(crate) use events::Subscribers;
use failure::Failure;
pub(crate) use turns::Turns;

/// Who answers: Marathon's followers and leaders tell it with every answer.
const LEADER: HeaderName = HeaderName::from_static("x-marathon-leader");

/// Who may pass, and who writes down that they did.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) access: Access,
    pub(crate) audit: Option<Audit>,
}

impl Doors {
    /// Whom the server lets in, and who hears of the others.
    pub(crate) fn callers(&self) -> Callers {
        let callers = self.access.callers();
        match &self.audit {
            Some(audit) => callers.witnessed(audit::strangers(audit.clone())),
            None => callers,
        }
    }
}

/// What every handler has at hand.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) handle: Handle<Orchestrator>,
    pub(crate) subscribers: Subscribers,
    pub(crate) why: Why,
    pub(crate) backups: Backups,
    pub(crate) doors: Doors,
    pub(crate) turns: Turns,
    pub(crate) options: Arc<Options>,
    /// `host:port` under which others find us.
    pub(crate) leader: Arc<str>,
    /// Streams end when this is cancelled.
    pub(crate) stop: CancellationToken,
}

/// All routes.
pub(crate) fn routes(api: Api, registry: Arc<Registry>) -> Router {
    let speaks_json = Router::new()
        .merge(apps::routes())
        .merge(groups::routes())
        .merge(instances::routes())
        .merge(pods::routes())
        .merge(deployments::routes())
        .merge(queue::routes())
        .merge(info::routes())
        .merge(logging::routes())
        .merge(audit::routes())
        .layer(middleware::from_fn(accepts_json));
    let leader = HeaderValue::try_from(format!("http://{}", api.leader)).ok();
    Router::new()
        .merge(speaks_json)
        .merge(info::ping())
        .merge(events::routes())
        .merge(backends::routes())
        .merge(backup::routes())
        .route("/{*path}", any(|| async { Failure::no_such_uri() }))
        .method_not_allowed_fallback(|| async { Failure::method_not_allowed() })
        .layer(middleware::from_fn_with_state(leader, common_headers))
        .with_state(api.clone())
        .merge(mete_daemon::metrics::routes(registry))
        .layer(middleware::from_fn_with_state(api.clone(), access::check))
        .layer(middleware::from_fn_with_state(api, audit::note))
}

/// A path, with a slash at its end or without, as Jersey has it.
fn at(path: &str, methods: MethodRouter<Api>) -> Router<Api> {
    let slashed = format!("{path}/");
    Router::new()
        .route(path, methods.clone())
        .route(&slashed, methods)
}

/// What Marathon says with every answer.
async fn common_headers(
    State(leader): State<Option<HeaderValue>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (EXPIRES, "0"),
        (X_FRAME_OPTIONS, "DENY"),
        (X_XSS_PROTECTION, "1; mode=block"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.extend(leader.map(|leader| (LEADER, leader)));
    response
}

/// Who takes only what we do not have (such as the task lists in plain text of old) is told so.
async fn accepts_json(request: Request, next: Next) -> Response {
    if !accepts(request.headers(), "application/json") {
        return Failure::new(StatusCode::NOT_ACCEPTABLE, "Not Acceptable").into_response();
    }
    next.run(request).await
}

/// Whether a client takes this media type, which it does when it says nothing.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let group = media_type.split_once('/').map_or("", |(group, _)| group);
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .any(|range| {
            range == "*/*"
                || range.eq_ignore_ascii_case(media_type)
                || range
                    .strip_suffix("/*")
                    .is_some_and(|of| of.eq_ignore_ascii_case(group))
        })
}
