//! `/logging`: what is logged, changed while the service framework runs.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::telemetry::{self, BadLevel};
use mete_proto::rest::info::LoggerChange;
use mete_service_framework_core::validate::Violation;

use super::Api;
use super::body::Said;
use super::failure::Failure;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/logging", get(show).post(change))
}

async fn show() -> Json<BTreeMap<String, String>> {
    Json(telemetry::levels())
}

async fn change(Said(change): Said<LoggerChange>) -> Result<Json<LoggerChange>, Failure> {
    let duration = change
        .duration_seconds
        .map(u64::from)
        .map(Duration::from_secs);
    let set = telemetry::set_level(&change.logger, &change.level, duration);
    set.map_err(|bad| {
        let text = bad.to_string();
        match bad {
            BadLevel::Level(_) => Failure::wrong_shape(vec![Violation::new("/level", text)]),
            BadLevel::Logger(_) | BadLevel::TooMany => {
                Failure::invalid(vec![Violation::new("/logger", text)])
            }
            BadLevel::NotStarted => Failure::unprocessable(text),
        }
    })?;
    Ok(Json(change))
}
