//! `GET /state`: the agent as Mesos' operators and its web pages know it.

mod frameworks; // what it has of whom, and had

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mete_agent_core::{Stage, View};
use mete_daemon::mesos_http;
use mete_proto::MESOS_VERSION;
use mete_proto::capabilities::AGENT_CAPABILITIES;
use mete_proto::convert::agent::domain_info;
use serde_json::{Value, json};

use super::{About, json};

pub(super) async fn state(State(about): State<Arc<About>>) -> Json<Value> {
    let view = about.handle.view();
    let (living, over) = frameworks::all(&about, &view);
    let mut state = this(&about, &view);
    resources(&mut state, &about, &view);
    state["frameworks"] = Value::Array(living);
    state["completed_frameworks"] = Value::Array(over);
    Json(state)
}

fn this(about: &About, view: &View) -> Value {
    let endpoint = &about.endpoint;
    let built = mesos_http::built();
    let mut state = json!({
        "version": MESOS_VERSION,
        "mete_version": env!("CARGO_PKG_VERSION"),
        "build_date": built.date,
        "build_time": built.time,
        "build_user": built.user,
        "start_time": about.started.as_secs_f64(),
        "id": view.agent.as_ref().map_or("", |id| id.as_str()),
        "pid": format!("slave(1)@{}", endpoint.address()),
        "hostname": endpoint.hostname,
        "capabilities": AGENT_CAPABILITIES.map(|can| can.as_str_name()),
        "master_hostname": about.masters.first().map_or("", |url| host(url)),
        "registered": matches!(view.stage, Stage::Registered { .. }),
        "attributes": json::attributes(&about.attributes.borrow()),
        "flags": about.flags(),
        "volumes": super::volumes::all_of(about, view),
    });
    if let Some(domain) = &about.domain {
        state["domain"] = json::message(&domain_info(domain));
    }
    if let Some(drain) = super::drain(view) {
        state["drain_config"] = json::message(&super::drain_config(&drain));
        let began = drain.since.as_secs_f64().trunc();
        state["estimated_drain_start_time_seconds"] = json!(began);
    }
    state
}

fn host(url: &str) -> &str {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.split([':', '/']).next().unwrap_or_default()
}

/// What there is, reserved or not, and what of it is in use.
fn resources(state: &mut Value, about: &About, view: &View) {
    let total = about.resources(view);
    let used = super::used(view);
    state["resources"] = json::resources(total);
    state["used_resources"] = json::resources(&used);
    state["reserved_resources"] = json::by_role(total, json::resources);
    state["reserved_resources_full"] = json::by_role(total, json::full);
    state["reserved_resources_allocated"] = json::by_role(&used, json::resources);
    state["unreserved_resources"] = json::resources(&total.unreserved());
    state["unreserved_resources_full"] = json::full(&total.unreserved());
    state["unreserved_resources_allocated"] = json::resources(&used.unreserved());
}
