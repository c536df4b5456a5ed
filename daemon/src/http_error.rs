//! The one shape of an HTTP error: a status and `{"message": …}`, with `details` where there are some.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error as an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {message}")]
pub struct HttpError {
    /// The status line.
    pub status: StatusCode,
    /// For the person who reads the answer.
    pub message: String,
    /// For programs: where in the request what is wrong. Left out of the answer when `None`.
    pub details: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a serde_json::Value>,
}

impl HttpError {
    /// An error with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            details: None,
        }
    }

    /// Adds what programs may want to know.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A status that stands somewhere as a number, as in the words of another protocol; 500 when it is none.
    pub fn coded(status: u16, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status);
        Self::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 422.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 503: the daemon is starting or ending.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = Json(Body {
            message: &self.message,
            details: self.details.as_ref(),
        });
        (self.status, body).into_response()
    }
}

/// A caller whose loop has ended learns that the daemon is going away.
impl From<crate::event_loop::Gone> for HttpError {
    fn from(_: crate::event_loop::Gone) -> Self {
        Self::unavailable("the daemon is shutting down")
    }
}
