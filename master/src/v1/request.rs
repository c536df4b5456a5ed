//! What every request of this API goes through first, in the order of Mesos: method, kind of body, body.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Method};
use mete_proto::json::Json;
use mete_proto::media::Media;
use prost::{Message, Name};

use super::refusal::Refusal;

/// The headers of a request, and the call that its body holds.
///
/// # Errors
/// 405, 400 or 415, and 400 again when the body is no call.
pub(super) async fn read<T: Message + Name + Default + Json>(
    request: Request,
) -> Result<(HeaderMap, T), Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::only_post());
    }
    let (parts, body) = request.into_parts();
    let media = Media::of_content(text(&parts.headers, &CONTENT_TYPE))?;
    // The limit of the server counts.
    let body = axum::body::to_bytes(body, usize::MAX).await;
    let body = body.map_err(|error| Refusal::bad(format!("the body cannot be read: {error}")))?;
    Ok((parts.headers, media.decode(&body)?))
}

/// A header as text; one that is none is empty.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}
