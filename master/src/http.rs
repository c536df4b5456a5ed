//! What people and tools read over HTTP, each also below `/master` as in Mesos. Everything is made from the published
//! view: no reader ever holds up a decision.

pub(crate) mod metrics; // the view as numbers
mod state; // the view as Mesos' operators know it

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::event_loop::Handle;
use mete_daemon::http_error::HttpError;
use mete_master_core::Cluster;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::grpc::About;

/// What the pages are made from.
#[derive(Clone)]
struct Pages {
    handle: Handle<Cluster>,
    about: Arc<About>,
}

/// `/health`, `/metrics`, `/version`, `/state`.
pub(crate) fn router(handle: Handle<Cluster>, about: About, metrics: Registry) -> Router {
    let pages = Pages {
        handle,
        about: Arc::new(about),
    };
    let routes = Router::new()
        .route("/version", get(version))
        .route("/state", get(state))
        .with_state(pages)
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
