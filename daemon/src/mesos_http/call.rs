//! What every call of Mesos' HTTP APIs goes through first, in the order of Mesos: method, kind of body, body.

use std::borrow::Cow;

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

/// A header that is a list: its lines are one (RFC 9110, section 5.3). One that is no text is empty.
pub fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let lines = headers.get_all(name).iter();
    let lines = lines.map(|line| Cow::Borrowed(line.to_str().unwrap_or_default()));
    lines.reduce(|all, line| Cow::Owned(format!("{all}, {line}")))
}

/// A header as text; one that is none is empty.
pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::ACCEPT;

    use super::*;

    #[test]
    fn the_lines_of_a_header_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(list(&headers, &ACCEPT), None);
        headers.append(ACCEPT, HeaderValue::from_static("application/x-protobuf"));
        assert_eq!(
            list(&headers, &ACCEPT).as_deref(),
            Some("application/x-protobuf")
        );
        headers.append(ACCEPT, HeaderValue::from_static("application/recordio"));
        assert_eq!(
            list(&headers, &ACCEPT).as_deref(),
            Some("application/x-protobuf, application/recordio")
        );
    }
}
