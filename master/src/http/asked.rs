//! What the path and the query of a request say, or an error in words.

use axum::extract::{self, FromRequestParts};
use axum::http::request::Parts;
use mete_daemon::http_error::HttpError;
use serde::de::DeserializeOwned;

/// What stands in the path.
pub(super) struct Path<T>(pub(super) T);

/// What stands in the query.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = HttpError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let read = extract::Path::from_request_parts(parts, state).await;
        read.map(|extract::Path(said)| Self(said))
            .map_err(|bad| HttpError::new(bad.status(), bad.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = HttpError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let read = extract::Query::from_request_parts(parts, state).await;
        read.map(|extract::Query(said)| Self(said))
            .map_err(|bad| HttpError::new(bad.status(), bad.body_text()))
    }
}
