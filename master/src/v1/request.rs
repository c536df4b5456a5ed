//! What every request of this API goes through first: its head, and the call that its body holds.

use axum::extract::Request;
use axum::http::HeaderMap;
use mete_daemon::mesos_http;
use mete_proto::json::Json;
use mete_proto::media::Media;
use prost::{Message, Name, UnknownEnumValue};

use super::refusal::Refusal;

/// The headers of a request, and the call that its body holds.
///
/// # Errors
/// 405, 400 or 415, and 400 again when the body is no call.
pub(super) async fn read<T: Message + Name + Default + Json>(
    request: Request,
) -> Result<(HeaderMap, T), Refusal> {
    let kind = |named: Option<&str>| Ok::<_, Refusal>(Media::of_content(named)?);
    let (headers, media, body) = mesos_http::call(request, kind).await?;
    Ok((headers, media.decode(&body)?))
}

/// Whether a call says what it is. As for all readers of protobuf, a number that nobody knows is as if nothing was said.
///
/// # Errors
/// 400.
pub(super) fn has_type<T>(kind: Option<Result<T, UnknownEnumValue>>) -> Result<(), Refusal> {
    match kind {
        Some(Ok(_)) => Ok(()),
        Some(Err(UnknownEnumValue(number))) => {
            let why = format!("the call has no type: {number} is none");
            Err(Refusal::bad(why))
        }
        None => Err(Refusal::bad("the call has no type")),
    }
}
