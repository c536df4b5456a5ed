//! `GET /v1/volumes`: persistent volumes, who holds them, and how much is on them.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mete_agent_core::{View, Volume, VolumePhase};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::About;
use crate::sandbox;

/// Most files and directories that are looked at for one answer: some seconds of a cold disk.
const MAX_LOOKED_AT: usize = 200_000;

pub(super) async fn volumes(State(about): State<Arc<About>>) -> Json<Value> {
    let view = about.handle.view();
    let places: Vec<PathBuf> = view
        .volumes
        .keys()
        .map(|name| about.volumes.place(name))
        .collect();
    let used = spawn_blocking(move || {
        let mut left = MAX_LOOKED_AT;
        let used = places
            .iter()
            .map(|place| sandbox::used_bytes(place, &mut left).ok());
        used.collect::<Vec<_>>()
    });
    let used = used.await.unwrap_or_default();
    let used = used.into_iter().chain(std::iter::repeat(None));
    let all = all_of(&about, &view).into_iter().zip(used);
    let all: Vec<Value> = all
        .map(|(mut volume, used)| {
            volume["used_bytes"] = json!(used);
            volume
        })
        .collect();
    Json(json!({ "volumes": all }))
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
