//! What the agent answers over HTTP: Mesos' paths for tools that know them, and one of ours for the tasks.
//!
//! Everything is read from the published view, from the kernel or from the disk: no reader ever holds up a decision.

pub(crate) mod containers; // what runs, and what it uses
mod files; // sandboxes: list, read, download
mod images; // images: list, import, remove
mod json; // quantities, attributes, reports as Mesos' tools read them
pub(crate) mod metrics; // counts for Prometheus
pub(crate) mod nested; // commands inside tasks, as Mesos has them
mod state; // the agent as Mesos' operators know it
mod tasks; // each task and where its sandbox is
mod volumes; // persistent volumes and how much is on them

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use mete_agent_core::Node;
use mete_daemon::event_loop::Handle;
use mete_model::{Attributes, Endpoint, Resources, Timestamp};
use prometheus_client::registry::Registry;

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
    pub(crate) volumes: Volumes,
    pub(crate) endpoint: Endpoint,
    pub(crate) resources: Resources,
    pub(crate) attributes: Attributes,
    pub(crate) masters: Vec<String>,
    pub(crate) started: Timestamp,
}

pub(crate) fn router(about: Arc<About>, registry: Arc<Registry>) -> Router {
    let look = middleware::from_fn_with_state(Arc::clone(&about), look_first);
    Router::new()
        .route("/version", get(version))
        .route("/state", get(state::state))
        .route("/v1/tasks", get(tasks::tasks))
        .route("/v1/volumes", get(volumes::volumes))
        .route("/containers", get(containers::containers))
        .route("/monitor/statistics", get(containers::statistics))
        .route("/monitor/statistics.json", get(containers::statistics))
        .route("/files/browse", get(files::browse))
        .route("/files/read", get(files::read))
        .route("/files/download", get(files::download))
        .route("/v1/images", get(images::list).delete(images::remove))
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

/// What takes bodies of any size, and bounds them itself.
pub(crate) fn uploads(about: Arc<About>) -> Router {
    Router::new()
        .route("/v1/images/import", post(images::import))
        .with_state(about)
}

/// Calls whose bodies go on for as long as somebody types.
pub(crate) fn calls(desk: Arc<TaskDesk>) -> Router {
    let nested = nested::Nested {
        desk,
        sessions: nested::ByName::default(),
    };
    Router::new()
        .route("/api/v1", post(nested::call))
        .with_state(Arc::new(nested))
}

async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}
