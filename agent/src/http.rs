//! What the agent answers over HTTP: Mesos' paths for tools that know them, and one of ours for the tasks.
//!
//! Everything is read from the published view, from the kernel or from the disk: no reader ever holds up a decision.

mod asked; // what a query says, or an error in words
pub(crate) mod containers; // what runs, and what it uses
pub(crate) mod executor; // where executors of frameworks' own subscribe and call
mod files; // sandboxes: list, read, download
mod images; // images: list, import, remove
mod json; // quantities, attributes, reports as Mesos' tools read them
pub(crate) mod metrics; // counts for Prometheus
pub(crate) mod nested; // commands inside tasks, as Mesos has them
mod questions; // what tools ask over Mesos' operator API
mod refusal; // how calls are refused
mod state; // the agent as Mesos' operators know it
mod tasks; // each task and where its sandbox is
mod volumes; // persistent volumes and how much is on them

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router, middleware};
use mete_agent_core::{Drain, Node, View};
use mete_daemon::aside;
use mete_daemon::event_loop::Handle;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use mete_model::{Attributes, Endpoint, FaultDomain, Resources, Timestamp};
use mete_proto::MESOS_VERSION;
use mete_proto::convert::duration_info;
use mete_proto::media::MediaError;
use mete_proto::mesos::v1 as wire;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::watch;

use crate::fetcher::Fetcher;
use crate::images::Images;
use crate::places::Places;
use crate::statistics::Statistics;
use crate::task_desk::TaskDesk;
use crate::volumes::Volumes;

/// What every answer is made of.
pub(crate) struct About {
    pub(crate) handle: Handle<Node>,
    pub(crate) places: Places,
    pub(crate) images: Images,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) fetcher: Fetcher,
    pub(crate) volumes: Volumes,
    pub(crate) endpoint: Endpoint,
    pub(crate) resources: Resources,
    pub(crate) attributes: watch::Receiver<Attributes>,
    pub(crate) domain: Option<FaultDomain>,
    pub(crate) authenticates_executors: bool,
    pub(crate) masters: Vec<String>,
    pub(crate) started: Timestamp,
}

impl About {
    /// What there is, what was reserved and made volumes at run time as such as far as the master has said it.
    fn resources<'a>(&'a self, view: &'a View) -> &'a Resources {
        let standing = view.standing.as_deref();
        standing.map_or(&self.resources, |standing| &standing.resources)
    }

    /// What the agent was started with, by the names of Mesos. No secrets.
    fn flags(&self) -> BTreeMap<&'static str, String> {
        let executors = self.authenticates_executors;
        BTreeMap::from([
            ("authenticate_http_executors", executors.to_string()),
            ("hostname", self.endpoint.hostname.clone()),
            ("ip", self.endpoint.ip.clone()),
            ("master", self.masters.join(",")),
            ("port", self.endpoint.port.to_string()),
            ("work_dir", self.places.root().display().to_string()),
        ])
    }
}

/// All of it: what is read, calls, and what is reached by other paths. What takes bodies of any size stands in the second,
/// and bounds them itself.
pub(crate) fn routers(
    about: &Arc<About>,
    desk: Arc<TaskDesk>,
    registry: Arc<Registry>,
) -> (Router, Router) {
    let read = mesos_http::packed(read(Arc::clone(about), registry));
    let calls = calls(Arc::clone(about), desk);
    let both = read.clone().merge(calls.clone());
    let more = mesos_http::beside(&both, "/slave(1)", &MESOS_PATHS);
    // As clients write it that put an address together from its parts.
    let more = more.clone().nest("/slave%281%29", both.merge(more));
    let uploads = Router::new()
        .route("/v1/images/import", post(images::import))
        .with_state(Arc::clone(about));
    (read, uploads.merge(calls).merge(more))
}

/// The paths of Mesos, which are taken also by longer ones; ours are taken by their whole name.
const MESOS_PATHS: [&str; 15] = [
    "/api/v1",
    "/containers",
    "/files/browse",
    "/files/debug",
    "/files/download",
    "/files/read",
    "/flags",
    "/health",
    mesos_http::STATS_PATH,
    mesos_http::TOGGLE_PATH,
    "/metrics",
    "/metrics/snapshot",
    "/monitor/statistics",
    "/state",
    "/version",
];

/// What is wrong with the form of a call or of its answer, as an answer.
fn refused(bad: MediaError) -> HttpError {
    HttpError::coded(bad.status(), bad.to_string())
}

fn read(about: Arc<About>, registry: Arc<Registry>) -> Router {
    let look = middleware::from_fn_with_state(Arc::clone(&about), look_first);
    Router::new()
        .route("/version", mesos_http::read(version))
        .route("/flags", mesos_http::read(flags))
        .route("/state", mesos_http::read(state::state))
        .route("/metrics/snapshot", mesos_http::read(snapshot))
        .route("/v1/tasks", get(tasks::tasks))
        .route("/v1/volumes", get(volumes::volumes).delete(volumes::remove))
        .route("/containers", mesos_http::read(containers::containers))
        .route(
            "/monitor/statistics",
            mesos_http::read(containers::statistics),
        )
        .route("/files/browse", mesos_http::read(files::browse))
        .route("/files/read", mesos_http::read(files::read))
        .route("/files/download", mesos_http::read(files::download))
        .route("/files/debug", mesos_http::read(files::debug))
        .route("/v1/images", get(images::list).delete(images::remove))
        .merge(mesos_http::logging())
        .merge(mesos_http::stats())
        .layer(middleware::from_fn(mesos_http::jsonp))
        .with_state(about)
        .merge(mete_daemon::metrics::routes(registry).layer(look))
}

/// What tasks use is looked at before it is counted.
async fn look_first(State(about): State<Arc<About>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/metrics" {
        about.statistics.fresh().await;
    }
    next.run(request).await
}

/// Calls whose bodies go on for as long as somebody types.
fn calls(about: Arc<About>, desk: Arc<TaskDesk>) -> Router {
    let nested = nested::Nested {
        about,
        desk,
        sessions: nested::ByName::default(),
    };
    Router::new()
        .route("/api/v1", any(nested::call))
        .with_state(Arc::new(nested))
}

/// How the agent drains, while it does.
fn drain(view: &View) -> Option<Drain> {
    view.standing.as_ref()?.drain
}

fn drain_config(drain: &Drain) -> wire::DrainConfig {
    wire::DrainConfig {
        max_grace_period: drain.max_grace.map(duration_info),
        mark_gone: Some(drain.mark_gone),
    }
}

/// What live tasks and executors use.
fn used(view: &View) -> Resources {
    let mut used = Resources::none();
    for task in view.tasks.values().filter(|task| task.is_live()) {
        used.add(&task.spec.resources);
    }
    for executor in view.executors.values() {
        used.add(&executor.spec.resources);
    }
    for executor in view.custom_executors.values() {
        used.add(&executor.spec.resources);
    }
    used
}

async fn version() -> Json<Value> {
    Json(mesos_http::version(MESOS_VERSION))
}

async fn flags(State(about): State<Arc<About>>) -> Json<Value> {
    Json(serde_json::json!({ "flags": about.flags() }))
}

/// Numbers in the names of Mesos.
async fn snapshot(
    State(about): State<Arc<About>>,
) -> Result<Json<BTreeMap<String, f64>>, HttpError> {
    let view = about.handle.view();
    let numbers = aside::run(move || questions::snapshot(&about, &view)).await?;
    Ok(Json(numbers))
}
