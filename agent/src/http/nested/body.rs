//! What a call comes as: one message of a bounded size, in time; or records, of a kind that another header names.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{self, Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::LengthLimitError;
use mete_daemon::http_error::HttpError;
use mete_proto::media::MediaError;

/// The largest call, and the largest record of an input.
pub(super) const MAX_CALL_BYTES: usize = 256 << 10;

/// From the head of a call to the end of its body, or of the first record of an input: as for all calls.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What comes in pieces of a kind that another header names.
pub(super) const RECORDS: &str = "application/recordio";
pub(super) const MESSAGE_CONTENT_TYPE: &str = "message-content-type";

/// The body of a call.
pub(super) async fn whole(body: Body, patience: Duration) -> Result<Bytes, HttpError> {
    if body.size_hint().lower() > MAX_CALL_BYTES as u64 {
        return Err(too_large());
    }
    let bytes = within(patience, body::to_bytes(body, MAX_CALL_BYTES)).await?;
    bytes.map_err(|error| {
        let cause = error.source().unwrap_or(&error);
        match cause.is::<LengthLimitError>() {
            true => too_large(),
            false => HttpError::bad_request(format!("the body cannot be read: {error}")),
        }
    })
}

fn too_large() -> HttpError {
    let words = format!("the call is larger than {MAX_CALL_BYTES} bytes");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, words)
}

/// What comes of something that the caller has so long for.
pub(super) async fn within<T>(
    patience: Duration,
    what: impl Future<Output = T>,
) -> Result<T, HttpError> {
    let came = tokio::time::timeout(patience, what).await;
    came.map_err(|_| HttpError::bad_request("the body cannot be read: it did not come in time"))
}

/// What is wrong with the form of records.
pub(super) fn of_records(bad: MediaError) -> HttpError {
    let status = HttpError::coded(bad.status(), String::new()).status;
    let words = format!("Message-Content-Type of records: {bad}");
    HttpError::new(status, words)
}

/// The media type that a header names, in any case and with any parameters.
pub(super) fn kind(headers: &HeaderMap, name: &str) -> Option<String> {
    let said = headers.get(name)?.to_str().ok()?;
    Some(said.split(';').next()?.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::{StreamExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn a_call_that_never_ends_is_refused() {
        let half = stream::once(async { Ok::<_, io::Error>(Bytes::from("{")) });
        let body = Body::from_stream(half.chain(stream::pending()));

        let refused = whole(body, Duration::from_millis(10)).await;

        let words = "the body cannot be read: it did not come in time";
        assert_eq!(refused.expect_err("it has no end").message, words);
    }

    #[tokio::test]
    async fn a_call_that_breaks_off_is_bad_and_one_that_goes_on_is_too_large() {
        let pieces = |last: io::Result<Bytes>| {
            let pieces = [Ok(Bytes::from(" ".repeat(MAX_CALL_BYTES))), last];
            Body::from_stream(stream::iter(pieces))
        };
        let said = Body::from(vec![b' '; MAX_CALL_BYTES + 1]);

        for (body, status) in [
            (pieces(Err(io::ErrorKind::UnexpectedEof.into())), 400),
            (pieces(Ok(Bytes::from(" "))), 413),
            (said, 413),
        ] {
            let refused = whole(body, PATIENCE).await.expect_err("not whole");
            assert_eq!(refused.status.as_u16(), status, "{}", refused.message);
        }
    }
}
