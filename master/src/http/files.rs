//! `/files/*` as Mesos has them. The master logs to where its standard error leads, and has no files that others may read.

use axum::http::StatusCode;
use axum::{Json, Router};
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http::{self, FileQuery, FileRefusal};
use serde_json::{Value, json};

use super::Pages;

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/files/browse", mesos_http::read(none))
        .route("/files/read", mesos_http::read(none))
        .route("/files/download", mesos_http::read(none))
        .route("/files/debug", mesos_http::read(debug))
}

async fn none(query: FileQuery) -> FileRefusal {
    let refused = |path: &str| {
        let shown: String = path.chars().take(200).collect();
        let why = format!("the master shows no file {shown}");
        FileRefusal::from(HttpError::new(StatusCode::NOT_FOUND, why))
    };
    query.path().map_or_else(|bad| bad, refused)
}

/// What there is, by the path that is asked for.
async fn debug() -> Json<Value> {
    Json(json!({}))
}
