//! The body of a request: JSON, or an error in words.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use mete_daemon::http_error::HttpError;
use serde::de::DeserializeOwned;

/// What the body says. No body at all is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = HttpError;
    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes =
            bytes.map_err(|rejection| HttpError::new(rejection.status(), rejection.body_text()))?;
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let read = serde_json::from_slice(json);
        read.map(Self)
            .map_err(|error| HttpError::bad_request(format!("the body makes no sense: {error}")))
    }
}
