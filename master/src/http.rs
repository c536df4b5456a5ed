//! What people and tools read over HTTP, and what operators change, each also below `/master` as in Mesos. Everything that
//! is read is made from the published view: no reader ever holds up a decision.

mod agents; // agents drained, deactivated, reactivated, marked gone
mod body; // JSON in, or an error in words
pub(crate) mod explain; // why somebody got what it got, and what if
mod maintenance; // machines planned to be away, down, up
pub(crate) mod metrics; // the view as numbers
mod quota; // what roles may have, and what is kept for them
mod roles; // roles, their weights and packing policies
mod state; // the view as Mesos' operators know it

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::event_loop::Handle;
use mete_daemon::http_error::HttpError;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::grpc::About;
use crate::rounds::Timed;
use explain::Explainers;

/// What the pages are made from.
#[derive(Clone)]
struct Pages {
    handle: Handle<Timed>,
    about: Arc<About>,
}

/// `/health`, `/metrics`, `/version`, `/state`, and what operators change.
pub(crate) fn router(
    handle: Handle<Timed>,
    explainers: Explainers,
    about: About,
    metrics: Registry,
) -> Router {
    let explain = explain::routes(explainers);
    let pages = Pages {
        handle,
        about: Arc::new(about),
    };
    let routes = Router::new()
        .route("/version", get(version))
        .route("/state", get(state))
        .merge(roles::routes())
        .merge(quota::routes())
        .merge(agents::routes())
        .merge(maintenance::routes())
        .with_state(pages)
        .merge(explain)
        .merge(mete_daemon::metrics::routes(Arc::new(metrics)));
    Router::new().merge(routes.clone()).nest("/master", routes)
}

async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

/// The whole state can be megabytes: it is written by a thread that may take its time.
async fn state(State(pages): State<Pages>) -> Result<Response, HttpError> {
    let (view, about) = (pages.handle.view(), pages.about);
    let written = tokio::task::spawn_blocking(move || state::write(&view, &about)).await;
    match written {
        Ok(Ok(json)) => Ok(([(CONTENT_TYPE, "application/json")], json).into_response()),
        Ok(Err(_)) | Err(_) => Err(HttpError::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "the state cannot be written",
        )),
    }
}
