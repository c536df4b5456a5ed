//! What a client hears whose request is refused: a status, and one line of text for the person who reads its log.

use axum::http::header::ALLOW;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mete_daemon::event_loop::Gone;
use mete_daemon::http_error::HttpError;
use mete_proto::media::MediaError;

use crate::orders::OrderError;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    /// 400: it makes no sense.
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::with(StatusCode::BAD_REQUEST, why)
    }

    /// 403: it is not for this caller, or not now.
    pub(super) fn forbidden(why: impl Into<String>) -> Self {
        Self::with(StatusCode::FORBIDDEN, why)
    }

    pub(super) fn with(status: StatusCode, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { status, why }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, self.why).into_response();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, post);
        }
        response
    }
}

impl From<OrderError> for Refusal {
    fn from(error: OrderError) -> Self {
        HttpError::from(error).into()
    }
}

/// The loop has ended: so does the master.
impl From<Gone> for Refusal {
    fn from(_: Gone) -> Self {
        Self::with(
            StatusCode::SERVICE_UNAVAILABLE,
            "the master is shutting down",
        )
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        Self::with(error.status, error.message)
    }
}

impl From<MediaError> for Refusal {
    fn from(error: MediaError) -> Self {
        HttpError::coded(error.status(), error.to_string()).into()
    }
}
