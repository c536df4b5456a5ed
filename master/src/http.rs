//! What people and tools read over HTTP, and what operators change, each also below `/master` as in Mesos. Everything that
//! is read is made from the published view: no reader ever holds up a decision.

mod about; // what this master is
mod agents; // agents drained, deactivated, reactivated, marked gone
mod asked; // paths and queries in, or an error in words
mod body; // JSON in, or an error in words
pub(crate) mod explain; // why somebody got what it got, and what if
mod files; // none
mod forms; // what operators order with forms, as in Mesos
mod maintenance; // machines planned to be away, down, up
pub(crate) mod metrics; // the view as numbers
mod quota; // what roles may have, and what is kept for them
mod roles; // roles, their weights and packing policies
mod state; // the view as Mesos' operators know it

use std::sync::Arc;

use crate::grpc::{About, Desk};
use crate::rounds::Timed;
use crate::v1;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use explain::Explainers;
use mete_daemon::aside;
use mete_daemon::event_loop::Handle;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use prometheus_client::registry::Registry;

/// What the pages are made from.
#[derive(Clone)]
struct Pages {
    handle: Handle<Timed>,
    about: Arc<About>,
}

/// `/health`, `/metrics`, `/version`, `/state` and its parts, what operators change, and Mesos' v1 API.
pub(crate) fn router(
    desk: Desk,
    explainers: Explainers,
    about: About,
    metrics: Registry,
) -> Router {
    let about = Arc::new(about);
    let explain = explain::routes(explainers);
    let pages = Pages {
        handle: desk.handle.clone(),
        about: Arc::clone(&about),
    };
    let read = Router::new()
        .route("/state", mesos_http::read(state))
        .merge(state::lists::routes())
        .merge(about::routes())
        .merge(roles::routes())
        .merge(quota::routes())
        .merge(agents::routes())
        .merge(maintenance::routes())
        .merge(forms::routes())
        .merge(files::routes())
        .merge(mesos_http::logging())
        .merge(mesos_http::stats())
        .with_state(pages)
        .merge(explain)
        .layer(middleware::from_fn(mesos_http::jsonp));
    let routes = read
        .merge(v1::routes(desk, about))
        .merge(mete_daemon::metrics::routes(Arc::new(metrics)));
    let routes = mesos_http::packed(routes);
    let more = mesos_http::beside(&routes, "/master", &MESOS_PATHS);
    routes.merge(more)
}

/// The paths of Mesos, which are taken also by longer ones; ours are taken by their whole name.
const MESOS_PATHS: [&str; 33] = [
    "/api/v1",
    "/api/v1/scheduler",
    "/create-volumes",
    "/destroy-volumes",
    "/files/browse",
    "/files/debug",
    "/files/download",
    "/files/read",
    "/flags",
    "/frameworks",
    "/health",
    mesos_http::STATS_PATH,
    mesos_http::TOGGLE_PATH,
    "/machine/down",
    "/machine/up",
    "/maintenance/schedule",
    "/maintenance/status",
    "/metrics",
    "/metrics/snapshot",
    "/quota",
    "/redirect",
    "/reserve",
    "/roles",
    "/slaves",
    "/state",
    "/state-summary",
    "/tasks",
    "/teardown",
    "/unreserve",
    "/version",
    "/weights",
    "/policy",
    "/explain",
];

/// The whole state can be megabytes: it is written aside.
async fn state(State(pages): State<Pages>) -> Result<Response, HttpError> {
    let (view, about) = (pages.handle.view(), pages.about);
    match aside::run(move || state::write(&view, &about)).await? {
        Ok(json) => Ok(([(CONTENT_TYPE, "application/json")], json).into_response()),
        Err(_) => Err(HttpError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the state cannot be written",
        )),
    }
}
