//! What the service framework says of itself.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use mete_proto::rest::info::{Config, HttpConfig, Info, Leader, ZooKeeperConfig};
use mete_service_framework_core::state::apps::MAX_VERSIONS;
use mete_service_framework_core::state::instances::{LAUNCH_CONFIRM, LAUNCH_TIMEOUT};

use super::{Api, accepts, at};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(at("/v2/info", get(info)))
        .merge(at("/v2/leader", get(leader)))
        .merge(at(
            "/v2/plugins",
            get(|| async { Json(serde_json::json!({ "plugins": [] })) }),
        ))
}

/// Plain text, unless JSON is asked for.
pub(super) fn ping() -> Router<Api> {
    let pong = |headers: HeaderMap| async move {
        if accepts(&headers, "text/plain") {
            "pong".into_response()
        } else {
            Json("pong").into_response()
        }
    };
    at("/ping", get(pong))
}

/// Of the API. Clients written for Marathon look whether they can talk to its version, which here is that of its API.
const MARATHON_VERSION: &str = "1.11.24";

async fn info(State(api): State<Api>) -> Json<Info> {
    let options = &*api.options;
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (hostname, port) = api.leader.rsplit_once(':').unwrap_or((&api.leader, ""));
    Json(Info {
        name: options.framework_name.clone(),
        version: MARATHON_VERSION.to_owned(),
        buildref: concat!("mete ", env!("CARGO_PKG_VERSION")).to_owned(),
        elected: true,
        leader: Some(api.leader.to_string()),
        framework_id: api
            .handle
            .view()
            .framework
            .as_ref()
            .map(ToString::to_string),
        marathon_config: Config {
            master: options.master.join(","),
            framework_name: options.framework_name.clone(),
            failover_timeout: options.failover_timeout.as_secs(),
            checkpoint: true,
            ha: false,
            hostname: hostname.to_owned(),
            mesos_role: options.role.clone(),
            local_port_min: options.service_port_min,
            local_port_max: options.service_port_max,
            executor: "//cmd".to_owned(),
            features: Vec::new(),
            decline_offer_duration: millis(options.decline_time),
            task_launch_timeout: millis(LAUNCH_TIMEOUT),
            task_launch_confirm_timeout: millis(LAUNCH_CONFIRM),
            task_lost_expunge_initial_delay: 0,
            task_lost_expunge_interval: 0,
        },
        zookeeper_config: ZooKeeperConfig {
            zk_max_versions: MAX_VERSIONS,
            ..ZooKeeperConfig::default()
        },
        http_config: HttpConfig {
            http_port: port.parse().unwrap_or(options.port),
            https_port: 0,
        },
    })
}

async fn leader(State(api): State<Api>) -> Json<Leader> {
    Json(Leader {
        leader: api.leader.to_string(),
    })
}
