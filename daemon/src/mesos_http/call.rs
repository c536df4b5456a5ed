//! What every call of Mesos' HTTP APIs goes through first, in the order of Mesos: method, kind of body, body.

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::http_error::HttpError;
use crate::server::HTTP_BODY_LIMIT_BYTES;

/// The headers of a call, what its body is, and its body. `kind` says what a `Content-Type` means.
///
/// # Errors
/// 405; what `kind` says; 400 when the body breaks off or is larger than a server takes.
pub async fn call<K, E: From<HttpError>>(
    request: Request,
    kind: impl FnOnce(Option<&str>) -> Result<K, E>,
) -> Result<(HeaderMap, K, Bytes), E> {
    if request.method() != Method::POST {
        let why = "calls are made with POST";
        return Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, why).into());
    }
    let (parts, body) = request.into_parts();
    let kind = kind(text(&parts.headers, &CONTENT_TYPE))?;
    let body = to_bytes(body, HTTP_BODY_LIMIT_BYTES).await;
    let body =
        body.map_err(|error| HttpError::bad_request(format!("the body cannot be read: {error}")))?;
    Ok((parts.headers, kind, body))
}

/// A header as text; one that is none is empty.
pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}
