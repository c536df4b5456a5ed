//! What this master is: `/version`, `/flags`, `/redirect`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::mesos_http;
use mete_proto::MESOS_VERSION;
use serde_json::{Value, json};

use super::Pages;

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/version", get(version))
        .route("/flags", get(flags))
        .route("/redirect", get(redirect))
}

async fn version() -> Json<Value> {
    Json(mesos_http::version(MESOS_VERSION))
}

async fn flags(State(pages): State<Pages>) -> Json<Value> {
    Json(json!({ "flags": pages.about.flags.as_ref() }))
}

/// To the master that decides: this one. Without a scheme, which is that of the request (as in Mesos).
async fn redirect(State(pages): State<Pages>) -> Response {
    let (host, port) = (&pages.about.hostname, pages.about.address.port());
    let place = format!("//{host}:{port}");
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, place)]).into_response()
}
