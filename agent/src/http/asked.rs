//! What the query of a request says, or an error in words.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use mete_daemon::http_error::HttpError;
use serde::de::DeserializeOwned;

/// What is asked for in a query; what is wrong with it is told as all errors are.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        asked
            .map(|Query(asked)| Self(asked))
            .map_err(|error| HttpError::bad_request(error.body_text()))
    }
}
