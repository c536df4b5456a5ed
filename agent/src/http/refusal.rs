//! How calls of Mesos' APIs are refused: a status, and one line of plain text for the person who reads the client's log.

use axum::http::header::{ALLOW, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mete_daemon::http_error::HttpError;
use mete_proto::convert::ConvertError;
use mete_proto::media::MediaError;

/// Why a call is refused.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl Refusal {
    /// 400: it makes no sense.
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, why) = self;
        let mut response = (status, why).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        Self(error.status, error.message)
    }
}

impl From<MediaError> for Refusal {
    fn from(error: MediaError) -> Self {
        super::refused(error).into()
    }
}

impl From<ConvertError> for Refusal {
    fn from(error: ConvertError) -> Self {
        Self::bad(error.to_string())
    }
}
