//! `GET /state`: the agent as Mesos' operators know it. Here every task that comes alone is its own executor.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mete_agent_core::{Sandbox, Stage, Task, View};
use mete_model::{ExecutorKind, FrameworkId};
use mete_proto::MESOS_VERSION;
use serde_json::{Value, json};

use super::{About, json};
use crate::running::source_of;

/// Ended tasks shown per framework (Mesos keeps 150 executors).
const MAX_COMPLETED: usize = 150;

pub(super) async fn state(State(about): State<Arc<About>>) -> Json<Value> {
    let view = about.handle.view();
    let used = super::used(&view);
    let endpoint = &about.endpoint;
    let (frameworks, completed) = frameworks(&about, &view);
    Json(json!({
        "id": view.agent.as_ref().map_or("", |id| id.as_str()),
        "pid": format!("slave(1)@{}:{}", endpoint.ip, endpoint.port),
        "hostname": endpoint.hostname,
        "version": MESOS_VERSION,
        "mete_version": env!("CARGO_PKG_VERSION"),
        "start_time": about.started.as_secs_f64(),
        "master_hostname": about.masters.first().map_or("", |url| host(url)),
        "registered": matches!(view.stage, Stage::Registered { .. }),
        "resources": json::resources(&about.resources),
        "used_resources": json::resources(&used),
        "unreserved_resources": json::resources(&about.resources.plain()),
        "reserved_resources": json::reserved(&about.resources),
        "attributes": json::attributes(&about.attributes),
        "flags": about.flags(),
        "volumes": super::volumes::all_of(&about, &view),
        "frameworks": frameworks,
        "completed_frameworks": completed,
    }))
}

fn host(url: &str) -> &str {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.split([':', '/']).next().unwrap_or_default()
}

/// Those with tasks here, and those of which there are only sandboxes left.
fn frameworks(about: &About, view: &View) -> (Vec<Value>, Vec<Value>) {
    let mut ended: BTreeMap<&FrameworkId, Vec<&Arc<Sandbox>>> = BTreeMap::new();
    for sandbox in view.sandboxes.values() {
        ended
            .entry(&sandbox.key.framework)
            .or_default()
            .push(sandbox);
    }
    let mut completed_of = |id: &FrameworkId| -> Vec<Value> {
        let sandboxes = ended.remove(id).unwrap_or_default();
        // Tasks of a group stand below their executor, if that is over and its sandbox there.
        let (executors, tasks): (Vec<_>, Vec<_>) =
            sandboxes.into_iter().partition(|one| one.is_executor);
        let is_in = |task: &Sandbox, executor: &Sandbox| {
            let within = task.within.as_ref();
            within.is_some_and(|within| within.container == executor.container)
        };
        let alone = tasks
            .iter()
            .filter(|task| !executors.iter().any(|one| is_in(task, one)))
            .map(|task| (*task, vec![*task]));
        let over = executors.iter().map(|executor| {
            let its = tasks.iter().filter(|task| is_in(task, executor));
            (*executor, its.copied().collect())
        });
        let mut all: Vec<(&Arc<Sandbox>, Vec<_>)> = alone.chain(over).collect();
        all.sort_by_key(|(one, _)| std::cmp::Reverse(one.ended_at));
        let newest = all.iter().take(MAX_COMPLETED);
        newest
            .map(|(one, tasks)| completed_executor(about, one, tasks))
            .collect()
    };
    let mut present = Vec::new();
    for (id, info) in &view.frameworks {
        let tasks = view.tasks.values().filter(|task| task.key.framework == *id);
        let role = info.roles.first().cloned().unwrap_or_default().to_string();
        let alone = tasks.filter(|task| task.executor.is_none());
        let mut executors: Vec<Value> = alone.map(|task| executor(about, task, &role)).collect();
        executors.extend(executors_with_tasks(about, view, id, &role));
        present.push(json!({
            "id": id.as_str(),
            "name": info.name,
            "user": info.user,
            "roles": info.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
            "hostname": info.hostname,
            "executors": executors,
            "completed_executors": completed_of(id),
        }));
    }
    let gone: Vec<FrameworkId> = view
        .sandboxes
        .values()
        .map(|sandbox| sandbox.key.framework.clone())
        .filter(|id| !view.frameworks.contains_key(id))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let gone = gone.iter().map(
        |id| json!({ "id": id.as_str(), "executors": [], "completed_executors": completed_of(id) }),
    );
    let gone = gone.collect();
    (present, gone)
}

fn executor(about: &About, task: &Task, role: &str) -> Value {
    let directory = about
        .places
        .sandbox(&task.agent, &task.key, &task.container);
    let id = task.key.task.as_str();
    let resources = json::resources(&task.spec.resources);
    let entry = task_entry(task, role);
    let (live, ended) = if task.is_live() {
        (vec![entry], vec![])
    } else {
        (vec![], vec![entry])
    };
    json!({
        "id": id,
        "name": task.spec.name,
        "source": id,
        "container": task.container.as_str(),
        "directory": directory.display().to_string(),
        "resources": resources,
        "role": role,
        "tasks": live,
        "queued_tasks": [],
        "completed_tasks": ended,
    })
}

fn task_entry(task: &Task, role: &str) -> Value {
    let id = task.key.task.as_str();
    let labels: Vec<Value> = task
        .spec
        .labels
        .iter()
        .map(|(key, value)| match value {
            Some(value) => json!({ "key": key, "value": value }),
            None => json!({ "key": key }),
        })
        .collect();
    json!({
        "id": id,
        "name": task.spec.name,
        "framework_id": task.key.framework.as_str(),
        "executor_id": task.executor.as_ref().map_or("", |id| id.as_str()),
        "slave_id": task.agent.as_str(),
        "state": task.latest.state.as_str(),
        "resources": json::resources(&task.spec.resources),
        "role": role,
        "labels": labels,
        "statuses": [json::status(&task.latest)],
    })
}

/// Executors that look after groups, and those of frameworks' own, with all their tasks.
fn executors_with_tasks<'a>(
    about: &'a About,
    view: &'a View,
    framework: &'a FrameworkId,
    role: &'a str,
) -> impl Iterator<Item = Value> + 'a {
    let of_groups = view.executors.values();
    let of_groups = of_groups.map(|one| (&one.key, &one.spec, one.within(), &one.agent));
    let own = view.custom_executors.values();
    let own = own.map(|one| (&one.key, &one.spec, one.within(), &one.agent));
    let mine = of_groups.chain(own);
    let mine = mine.filter(move |(key, ..)| key.framework == *framework);
    mine.map(move |(key, spec, within, agent)| {
        let directory = about.places.executor_sandbox(agent, framework, &within);
        let its = |task: &&Arc<Task>| {
            task.key.framework == *framework && task.executor.as_ref() == Some(&key.executor)
        };
        let (live, ended): (Vec<_>, Vec<_>) = view
            .tasks
            .values()
            .filter(its)
            .partition(|task| task.is_live());
        let entries = |tasks: Vec<&Arc<Task>>| -> Vec<Value> {
            tasks.iter().map(|task| task_entry(task, role)).collect()
        };
        json!({
            "id": key.executor.as_str(),
            "name": spec.name,
            "type": match spec.kind {
                ExecutorKind::Default => "DEFAULT",
                ExecutorKind::Custom => "CUSTOM",
            },
            "source": source_of(spec).unwrap_or_default(),
            "container": within.container.as_str(),
            "directory": directory.display().to_string(),
            "resources": json::resources(&spec.resources),
            "role": role,
            "tasks": entries(live),
            "queued_tasks": [],
            "completed_tasks": entries(ended),
        })
    })
}

fn completed_executor(about: &About, sandbox: &Sandbox, tasks: &[&Arc<Sandbox>]) -> Value {
    let directory = about.places.sandbox_left(sandbox);
    let id = sandbox.key.task.as_str();
    json!({
        "id": id,
        "name": sandbox.name,
        "source": id,
        "container": sandbox.container.as_str(),
        "directory": directory.display().to_string(),
        "tasks": [],
        "queued_tasks": [],
        "completed_tasks": tasks.iter().map(|task| completed_task(task)).collect::<Vec<_>>(),
    })
}

fn completed_task(task: &Sandbox) -> Value {
    json!({
        "id": task.key.task.as_str(),
        "name": task.name,
        "framework_id": task.key.framework.as_str(),
        "slave_id": task.agent.as_str(),
        "state": task.state.as_str(),
    })
}
