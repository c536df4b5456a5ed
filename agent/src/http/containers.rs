//! `GET /containers` and `GET /monitor/statistics`: what runs, and what it uses.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mete_agent_core::Task;
use serde_json::{Map, Value, json};

use super::About;
use crate::containerizer::{Containerizer, Usage};

pub(super) async fn containers(State(about): State<Arc<About>>) -> Json<Value> {
    list(&about, |task, statistics| {
        json!({
            "container_id": task.container.as_str(),
            "executor_id": task.key.task.as_str(),
            "executor_name": task.spec.name,
            "framework_id": task.key.framework.as_str(),
            "source": task.key.task.as_str(),
            "statistics": statistics,
        })
    })
    .await
}

pub(super) async fn statistics(State(about): State<Arc<About>>) -> Json<Value> {
    list(&about, |task, statistics| {
        json!({
            "executor_id": task.key.task.as_str(),
            "executor_name": task.spec.name,
            "framework_id": task.key.framework.as_str(),
            "source": task.key.task.as_str(),
            "statistics": statistics,
        })
    })
    .await
}

/// One after the other: a slow kernel must not be asked by hundreds of threads at once.
async fn list(about: &About, entry: impl Fn(&Task, Value) -> Value) -> Json<Value> {
    let view = about.handle.view();
    let mut all = Vec::new();
    for task in view.tasks.values().filter(|task| task.is_live()) {
        let usage = about.containerizer.usage(task.container.clone()).await;
        all.push(entry(task, of(task, usage)));
    }
    Json(Value::Array(all))
}

/// What is not known is left out.
fn of(task: &Task, usage: Usage) -> Value {
    let mut object = Map::new();
    let now = mete_daemon::clock::now().as_secs_f64();
    object.insert("timestamp".into(), json!(now));
    let resources = task.spec.resources.flat();
    let cpus = resources.cpus_milli as f64 / 1e3;
    object.insert("cpus_limit".into(), json!(cpus));
    let known = [
        (
            "cpus_user_time_secs",
            usage.cpu_ns.map(|ns| json!(ns as f64 / 1e9)),
        ),
        ("cpus_system_time_secs", usage.cpu_ns.map(|_| json!(0.0))),
        ("mem_total_bytes", usage.mem_bytes.map(|bytes| json!(bytes))),
        (
            "mem_rss_bytes",
            usage.mem_rss_bytes.map(|bytes| json!(bytes)),
        ),
        (
            "mem_limit_bytes",
            usage.mem_limit_bytes.map(|bytes| json!(bytes)),
        ),
        ("processes", usage.pids.map(|count| json!(count))),
        ("disk_limit_bytes", Some(json!(resources.disk_bytes))),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            object.insert(name.into(), value);
        }
    }
    Value::Object(object)
}
