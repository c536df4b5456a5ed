//! What this master is: `/version`, `/flags`, `/redirect`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use mete_daemon::mesos_http;
use mete_model::agent::authority;
use mete_proto::MESOS_VERSION;
use serde_json::{Value, json};

use super::Pages;

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/version", mesos_http::read(version))
        .route("/flags", mesos_http::read(flags))
        .route("/redirect", mesos_http::read(redirect))
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
    let place = format!("//{}", authority(host, port));
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, place)]).into_response()
}
