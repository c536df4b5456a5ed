//! `/metrics` and `/health`, the same in every daemon.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::http_error::HttpError;

/// What Prometheus asks for first and `prometheus_client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics` with all of `registry`, and `GET /health` with 200 and `{"healthy":true}`. Merge it into the daemon's
/// router.
pub fn routes(registry: Arc<Registry>) -> Router {
    let metrics = move || std::future::ready(text(&registry));
    let health = || async { axum::Json(serde_json::json!({ "healthy": true })) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
}

fn text(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => HttpError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics cannot be written",
        )
        .into_response(),
    }
}
