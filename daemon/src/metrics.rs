//! `/metrics` and `/health`, the same in every daemon.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use crate::http_error::HttpError;

/// What Prometheus asks for first and `prometheus_client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics` with all of `registry`, as JSON for those who take nothing else; `GET /metrics/prometheus`, always as
/// text; and `GET /health` with 200 and `{"healthy":true}`. Merge it into the daemon's router.
pub fn routes(registry: Arc<Registry>) -> Router {
    let all = Arc::clone(&registry);
    let metrics = move |headers: HeaderMap| {
        std::future::ready(match wants_json(&headers) {
            true => answer(&all, |text| axum::Json(json(&text)).into_response()),
            false => answer(&all, openmetrics),
        })
    };
    let prometheus = move || std::future::ready(answer(&registry, openmetrics));
    let health = || async { axum::Json(serde_json::json!({ "healthy": true })) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/metrics/prometheus", get(prometheus))
        .route("/health", get(health))
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let accept = accept.unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/") && !accept.contains("*/*")
}

fn answer(registry: &Registry, write: impl FnOnce(String) -> Response) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => write(text),
        Err(_) => HttpError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics cannot be written",
        )
        .into_response(),
    }
}

fn openmetrics(text: String) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS)], text).into_response()
}

/// The same in the form that Marathon's clients know (its `NewMetrics`): counters and gauges by name and labels, those named
/// as in Marathon with its dots. Of histograms there are sums and counts.
fn json(text: &str) -> Value {
    let (mut counters, mut gauges) = (Map::new(), Map::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let bare = name.split('{').next().unwrap_or_default();
        if bare.ends_with("_bucket") {
            continue;
        }
        if bare.ends_with("_total") || bare.ends_with("_count") {
            // Counts are whole; one of more than 2^53 is not exact in the text either.
            counters.insert(name.to_owned(), json!({ "count": value as u64 }));
        } else {
            let name = match name.starts_with("marathon_") {
                true => name.replace('_', "."),
                false => name.to_owned(),
            };
            gauges.insert(name, json!({ "value": value }));
        }
    }
    json!({
        "version": "4.0.0", "counters": counters, "gauges": gauges,
        "histograms": {}, "meters": {}, "timers": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_reads_is_told_as_json_too() {
        let text = "# TYPE a counter\na_total 3\nb{role=\"x y\"} 1.5\nc_bucket{le=\"1\"} 2\nc_sum 0.5\nc_count 2\n# EOF\n";

        let told = json(text);

        assert_eq!(
            told["counters"],
            json!({ "a_total": { "count": 3 }, "c_count": { "count": 2 } })
        );
        assert_eq!(
            told["gauges"],
            json!({ "b{role=\"x y\"}": { "value": 1.5 }, "c_sum": { "value": 0.5 } })
        );
    }
}
