//! `/v2/tasks` and `/v2/apps/{id}/tasks`: what runs where, and an end to some of it.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mete_proto::rest::tasks::{DeleteTasks, TaskList, TaskSingle};
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::state::instances::InstanceId;
use mete_service_framework_core::{Input, Reply, View};

use super::access::May;
use super::audit::touched;
use super::body::Said;
use super::change::result;
use super::failure::Failure;
use super::params::Params;
use super::{Api, at, convert};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(at("/v2/tasks", get(list)))
        .merge(at("/v2/tasks/delete", post(kill_named)))
}

async fn list(State(api): State<Api>, may: May, params: Params) -> Result<Json<TaskList>, Failure> {
    let asked: Vec<&str> = params.all("status").chain(params.all("status[]")).collect();
    if let Some(unknown) = asked
        .iter()
        .find(|word| !matches!(**word, "running" | "staging"))
    {
        let message = format!("query parameter status is '{unknown}', must be running or staging");
        return Err(Failure::bad_request(message));
    }
    let mut list = of(&api, &api.handle.view(), |app| may.sees(app));
    if !asked.is_empty() {
        list.tasks.retain(|task| match task.state.as_str() {
            "TASK_RUNNING" => asked.contains(&"running"),
            "TASK_STAGING" | "TASK_STARTING" => asked.contains(&"staging"),
            _ => false,
        });
    }
    Ok(Json(list))
}

/// The tasks of some apps, also of those that are being removed.
pub(super) fn of(api: &Api, view: &View, is_asked: impl Fn(&AppId) -> bool) -> TaskList {
    let apps = view.apps.values().filter(|app| is_asked(&app.id));
    let instances = apps.flat_map(|app| app.instances.values());
    let tasks = instances.filter_map(|instance| convert::task(instance, &api.options.role));
    TaskList {
        tasks: tasks.collect(),
    }
}

/// `POST /v2/tasks/delete`: those unknown are skipped, also those with ids as Marathon gave them once.
async fn kill_named(
    State(api): State<Api>,
    may: May,
    params: Params,
    Said(said): Said<DeleteTasks>,
) -> Result<Response, Failure> {
    let mut ids = Vec::new();
    for id in &said.ids {
        match InstanceId::parse(id) {
            Some(id) => ids.push(id),
            None if is_of_old(id) => {}
            None => {
                let shown: String = id.chars().take(300).collect();
                return Err(Failure::bad_request(format!(
                    "Invalid task id '{shown}'. Expected the form <app>.instance-<uuid>._app.<number>"
                )));
            }
        }
    }
    let view = api.handle.view();
    let is_known = |id: &InstanceId| view.instance(id).is_some() && may.sees(&id.app());
    let known: Vec<InstanceId> = ids.into_iter().filter(is_known).collect();
    known.iter().try_for_each(|id| may.change(&id.app()))?;
    let apps: BTreeSet<AppId> = known.iter().map(InstanceId::app).collect();
    Ok(touched(kill(&api, known, &params).await?, &apps))
}

/// Whether a text is the id of a task in one of Marathon's former forms, `<app>.<uuid>` and `<app>_<number>`; it takes any
/// last part for one.
fn is_of_old(id: &str) -> bool {
    let parts = id.rsplit_once(['.', '_']);
    parts.is_some_and(|(app, last)| !app.is_empty() && !last.is_empty())
}

/// `DELETE /v2/apps/{id}/tasks`.
pub(super) async fn kill_all(api: &Api, id: &AppId, params: &Params) -> Result<Response, Failure> {
    let view = api.handle.view();
    let app = view.app(id).ok_or_else(|| Failure::no_such_app(id))?;
    let host = params
        .first("host")
        .filter(|host| !host.is_empty() && *host != "*");
    let is_there = |on: &str| host.is_none_or(|host| host == on);
    let placed = app.instances.values().filter(|instance| {
        let place = instance.place.as_ref();
        place.is_some_and(|place| is_there(&place.host))
    });
    kill(
        api,
        placed.map(|instance| instance.id.clone()).collect(),
        params,
    )
    .await
}

/// `DELETE /v2/apps/{id}/tasks/{taskId}`.
pub(super) async fn kill_one(
    api: &Api,
    id: &AppId,
    task: &str,
    params: &Params,
) -> Result<Response, Failure> {
    let unknown = || Failure::no_such_task(task);
    let view = api.handle.view();
    view.app(id).ok_or_else(|| Failure::no_such_app(id))?;
    let instance = InstanceId::parse(task).filter(|instance| instance.app() == *id);
    let instance = instance
        .filter(|instance| view.instance(instance).is_some())
        .ok_or_else(unknown)?;
    let shown = view
        .instance(&instance)
        .and_then(|it| convert::task(it, &api.options.role));
    let reply = ask(api, vec![instance], params).await?;
    if !matches!(reply, Reply::Killed(_)) {
        return Ok(result(reply)?.into_response());
    }
    let task = shown.ok_or_else(unknown)?;
    Ok(Json(TaskSingle { task }).into_response())
}

async fn kill(api: &Api, instances: Vec<InstanceId>, params: &Params) -> Result<Response, Failure> {
    let reply = ask(api, instances, params).await?;
    let Reply::Killed(killed) = reply else {
        return Ok(result(reply)?.into_response());
    };
    let tasks = killed
        .iter()
        .filter_map(|instance| convert::task(instance, &api.options.role));
    let tasks = tasks.collect();
    Ok(Json(TaskList { tasks }).into_response())
}

/// `wipe` throws away what an instance holds: its reservation and its volumes.
async fn ask(api: &Api, instances: Vec<InstanceId>, params: &Params) -> Result<Reply, Failure> {
    let (scale, wipe) = (
        params.switch("scale", false)?,
        params.switch("wipe", false)?,
    );
    if scale && wipe {
        let message = "You cannot use scale and wipe at the same time.";
        return Err(Failure::bad_request(message));
    }
    let input = Input::KillInstances {
        instances,
        scale,
        force: params.switch("force", false)?,
        wipe,
    };
    Ok(api.handle.ask(input).await?)
}
