//! `GET /v1/tasks`: each task, ended ones as long as their sandbox is there, and where that is. What `mete task logs`
//! asks; the newest run of a task comes first.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::About;

pub(super) async fn tasks(State(about): State<Arc<About>>) -> Json<Value> {
    let view = about.handle.view();
    let live = view
        .tasks
        .values()
        .filter(|task| task.is_live())
        .map(|task| {
            let sandbox = about.places.sandbox_of(task, &view);
            json!({
                "id": task.key.task.as_str(),
                "name": task.spec.name,
                "framework_id": task.key.framework.as_str(),
                "container_id": task.container.as_str(),
                "state": task.latest.state.as_str(),
                "healthy": task.latest.healthy,
                "message": task.latest.message,
                "ailment": task.ailment.as_deref(),
                "started": task.started_at.map(|at| at.as_secs_f64()),
                "ended": null,
                "sandbox": sandbox.display().to_string(),
            })
        });
    let mut ended: Vec<_> = view.sandboxes.values().collect();
    ended.sort_unstable_by_key(|sandbox| Reverse(sandbox.ended_at));
    let ended = ended.into_iter().map(|kept| {
        let sandbox = about.places.sandbox_left(kept);
        json!({
            "id": kept.key.task.as_str(),
            "name": kept.name,
            "framework_id": kept.key.framework.as_str(),
            "container_id": kept.container.as_str(),
            "state": kept.state.as_str(),
            "healthy": null,
            "message": kept.message,
            "ailment": null,
            "started": null,
            "ended": kept.ended_at.as_secs_f64(),
            "sandbox": sandbox.display().to_string(),
        })
    });
    let tasks: Vec<Value> = live.chain(ended).collect();
    Json(json!({ "tasks": tasks }))
}
