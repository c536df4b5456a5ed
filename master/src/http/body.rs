//! The body of a request: JSON, or an error in words.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use mete_daemon::http_error::HttpError;
use serde::de::DeserializeOwned;

/// What the body says.
pub(super) struct Body<T>(pub(super) T);

/// What the body says, where all of it may be left away: no body at all is an empty object.
pub(super) struct BodyIfAny<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = HttpError;
    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let bytes = whole(request, state).await?;
        if bytes.is_empty() {
            return Err(HttpError::bad_request("the body is empty"));
        }
        read(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for BodyIfAny<T> {
    type Rejection = HttpError;
    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let bytes = whole(request, state).await?;
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        read(json).map(Self)
    }
}

async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, HttpError> {
    let bytes = Bytes::from_request(request, state).await;
    bytes.map_err(|rejection| HttpError::new(rejection.status(), rejection.body_text()))
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(json)
        .map_err(|error| HttpError::bad_request(format!("the body makes no sense: {error}")))
}
