//! `GET /v1/volumes`: persistent volumes and those that are kept by name, who holds them, and how much is on them.
//! `DELETE /v1/volumes?name=`: one that is kept by name, with all that is on it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mete_agent_core::{View, Volume, VolumePhase};
use mete_daemon::chain;
use mete_daemon::http_error::HttpError;
use mete_model::ContainerSpec;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tracing::info;

use super::About;
use super::asked::Asked;
use crate::launch::volumes::named;
use crate::sandbox;
use crate::volumes::RemoveError;

/// Most files and directories that are looked at for one answer: some seconds of a cold disk.
const MAX_LOOKED_AT: usize = 200_000;

pub(super) async fn volumes(State(about): State<Arc<About>>) -> Json<Value> {
    let view = about.handle.view();
    let places: Vec<PathBuf> = view
        .volumes
        .keys()
        .map(|name| about.volumes.place(name))
        .collect();
    let volumes = about.volumes.clone();
    let used = spawn_blocking(move || {
        let mut left = MAX_LOOKED_AT;
        let mut used = |place: &PathBuf| sandbox::used_bytes(place, &mut left).ok();
        let persistent: Vec<_> = places.iter().map(&mut used).collect();
        // What cannot be listed is in nobody's use either.
        let named = volumes.named().unwrap_or_default().into_iter();
        let mut roles = volumes.roles_of_named().unwrap_or_default();
        let named = named.map(|name| {
            let place = volumes.place_named(&name);
            let used = used(&place);
            let role = roles.remove(&name);
            (name, role, place, used)
        });
        (persistent, named.collect::<Vec<_>>())
    });
    let (used, named) = used.await.unwrap_or_default();
    let named = named.into_iter().map(|(name, role, place, used)| {
        let tasks: Vec<_> = users_of(&view, &name).collect();
        json!({ "name": name, "role": role, "path": place.display().to_string(), "used_bytes": used, "tasks": tasks })
    });
    let named: Vec<Value> = named.collect();
    let used = used.into_iter().chain(std::iter::repeat(None));
    let all = all_of(&about, &view).into_iter().zip(used);
    let all: Vec<Value> = all
        .map(|(mut volume, used)| {
            volume["used_bytes"] = json!(used);
            volume
        })
        .collect();
    Json(json!({ "volumes": all, "named": named }))
}

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

pub(super) async fn remove(
    State(about): State<Arc<About>>,
    Asked(Named { name }): Asked<Named>,
) -> Result<Json<Value>, HttpError> {
    let (volumes, handle) = (about.volumes.clone(), about.handle.clone());
    let removed = spawn_blocking(move || {
        let is_in_use = || users_of(&handle.view(), &name).next().is_some();
        volumes.remove_named(&name, is_in_use)?;
        info!(
            volume = name,
            "volume that was kept by name is removed by an operator"
        );
        Ok(Json(json!({ "name": name })))
    });
    let removed = removed.await;
    let removed = removed.map_err(|_| HttpError::unavailable("the agent ends"))?;
    removed.map_err(|error: RemoveError| {
        let status = match &error {
            RemoveError::Unknown(_) => StatusCode::NOT_FOUND,
            RemoveError::InUse(_) => StatusCode::CONFLICT,
            RemoveError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        HttpError::new(status, chain(&error))
    })
}

/// Tasks, and executors of frameworks' own, that are not over and name a volume.
fn users_of<'a>(view: &'a View, name: &'a str) -> impl Iterator<Item = &'a str> {
    let names = move |spec: Option<&ContainerSpec>| {
        spec.is_some_and(|spec| named(spec).any(|one| one == name))
    };
    let live = view.tasks.values().filter(|task| task.is_live());
    let tasks = live.filter(move |task| names(task.spec.container.as_deref()));
    let executors = view.custom_executors.values();
    let executors = executors.filter(move |one| names(one.spec.container.as_deref()));
    let tasks = tasks.map(|task| task.key.task.as_str());
    tasks.chain(executors.map(|one| one.key.executor.as_str()))
}

/// Each volume, in order of their names.
pub(super) fn all_of(about: &About, view: &View) -> Vec<Value> {
    let one = |volume: &Arc<Volume>| {
        let (state, failure) = match &volume.phase {
            VolumePhase::Kept => ("kept", None),
            VolumePhase::Doomed { failure } => ("being erased", failure.clone()),
        };
        let live = view.tasks.values().filter(|task| task.is_live());
        let holds = live.filter(|task| {
            let mut held = task.spec.resources.volumes();
            held.any(|(name, ..)| name == volume.name)
        });
        let tasks: Vec<_> = holds.map(|task| task.key.task.as_str()).collect();
        json!({
            "id": volume.name.id(),
            "role": volume.name.role().as_str(),
            "path": about.volumes.place(&volume.name).display().to_string(),
            "size_bytes": volume.bytes,
            "shared": volume.shared,
            "since": volume.since.as_secs_f64(),
            "state": state,
            "failure": failure,
            "tasks": tasks,
        })
    };
    view.volumes.values().map(one).collect()
}
