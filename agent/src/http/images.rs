//! `GET /v1/images`, `DELETE /v1/images?name=`, `POST /v1/images/import?name=`: what lies on this agent, without asking
//! any registry. The archive to import is the body: no path of the agent's host is read for anybody.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use mete_daemon::http_error::HttpError;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::About;
use super::asked::Asked;
use crate::images::{ImageError, Imported, Listed, Removed};

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Called {
    name: Option<String>,
}

pub(super) async fn list(State(about): State<Arc<About>>) -> Json<Value> {
    let one = |image: &Listed| {
        let containers: Vec<_> = image.containers.iter().map(|id| id.as_str()).collect();
        json!({
            "digest": image.digest,
            "names": image.names,
            "layers": image.layers,
            "bytes": image.bytes,
            "used": image.used.as_secs_f64(),
            "containers": containers,
        })
    };
    let images: Vec<Value> = about.images.list().await.iter().map(one).collect();
    Json(json!({ "images": images }))
}

pub(super) async fn import(
    State(about): State<Arc<About>>,
    Asked(Called { name }): Asked<Called>,
    body: Body,
) -> Result<Json<Value>, HttpError> {
    let pieces = body.into_data_stream();
    let imported = about.images.receive(pieces, name.as_deref()).await;
    let one = |image: &Imported| json!({ "digest": image.digest, "names": image.names });
    let images: Vec<Value> = imported.map_err(refused)?.iter().map(one).collect();
    Ok(Json(json!({ "images": images })))
}

pub(super) async fn remove(
    State(about): State<Arc<About>>,
    Asked(Named { name }): Asked<Named>,
) -> Result<Json<Value>, HttpError> {
    let removed = about.images.remove(&name).await.map_err(refused)?;
    let Removed {
        names,
        images,
        bytes,
    } = removed;
    Ok(Json(
        json!({ "names": names, "images": images, "bytes": bytes }),
    ))
}

/// PRUNE_IMAGES: what no container holds goes, but for images of these names.
pub(super) async fn prune(about: &About, kept: &[&str]) -> Result<Response, HttpError> {
    let removed = about.images.prune(kept).await.map_err(refused)?;
    let Removed { images, bytes, .. } = removed;
    info!(
        images = images.len(),
        bytes, "images were pruned by an operator"
    );
    Ok(StatusCode::OK.into_response())
}

/// An error of images as an answer.
fn refused(error: ImageError) -> HttpError {
    let status = match &error {
        ImageError::BadReference { .. } => StatusCode::BAD_REQUEST,
        ImageError::Unknown { .. } | ImageError::NotFound { .. } => StatusCode::NOT_FOUND,
        ImageError::InUse { .. } => StatusCode::CONFLICT,
        ImageError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ImageError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        ImageError::DigestMismatch { .. }
        | ImageError::Malformed { .. }
        | ImageError::NotCarried { .. }
        | ImageError::NoPlatform { .. }
        | ImageError::BadLayer { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ImageError::Unauthorized { .. }
        | ImageError::Denied { .. }
        | ImageError::Refused { .. }
        | ImageError::Timeout { .. }
        | ImageError::Unreachable { .. }
        | ImageError::Astray { .. }
        | ImageError::Credentials { .. }
        | ImageError::OwnCredentials { .. }
        | ImageError::Helper { .. }
        | ImageError::GivenUp { .. }
        | ImageError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    HttpError::new(status, error.to_string())
}
