//! How calls are answered: by one message, or by records as long as there is something to tell.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use mete_proto::media::Media;
use mete_proto::mesos::v1::agent::{self, ProcessIo};
use mete_proto::recordio;
use tokio_stream::wrappers::IntervalStream;

use super::body::{MESSAGE_CONTENT_TYPE, RECORDS};
use super::{refused, wire};

/// Between two signs of life in an output that is silent (Mesos: 30 s).
const HEARTBEAT: Duration = Duration::from_secs(30);

/// In which form a caller takes records.
const MESSAGE_ACCEPT: HeaderName = HeaderName::from_static("message-accept");

/// An answer in the form that the caller understands.
pub(super) fn told(headers: &HeaderMap, answer: &agent::Response) -> Result<Response, HttpError> {
    let media = Media::accepted(mesos_http::list(headers, &ACCEPT).as_deref()).map_err(refused)?;
    Ok(([(CONTENT_TYPE, media.name())], media.encode(answer)).into_response())
}

/// In which form an answer comes that is a stream of records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form(Media);

impl Form {
    /// What the caller takes, by `Accept` and `Message-Accept`: records of JSON when it does not say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let takes_records = mesos_http::list(headers, &ACCEPT).is_none_or(|accept| {
            let mut kinds = accept.split(',').filter_map(|kind| kind.split(';').next());
            kinds.any(|kind| [RECORDS, "application/*", "*/*"].contains(&kind.trim()))
        });
        if !takes_records {
            let words = "the answer is application/recordio, which Accept leaves out";
            return Err(HttpError::new(StatusCode::NOT_ACCEPTABLE, words));
        }
        let media = Media::accepted(mesos_http::list(headers, &MESSAGE_ACCEPT).as_deref());
        media.map(Self).map_err(|bad| {
            let words = format!("Message-Accept of records: {bad}");
            HttpError::new(StatusCode::NOT_ACCEPTABLE, words)
        })
    }
}

/// Records as they come, with a sign of life now and then.
pub(super) fn answer(
    Form(media): Form,
    records: impl Stream<Item = ProcessIo> + Send + 'static,
) -> Response {
    let begin = tokio::time::Instant::now() + HEARTBEAT;
    let beats = IntervalStream::new(tokio::time::interval_at(begin, HEARTBEAT));
    let beats = beats.map(|_| Some(wire::heartbeat(HEARTBEAT)));
    let records = records.map(Some).chain(stream::iter([None]));
    // The end of the records is the end of the signs of life.
    let both = stream::select(records, beats).take_while(|record| {
        let goes_on = record.is_some();
        std::future::ready(goes_on)
    });
    let bytes = both.filter_map(move |record| {
        let framed = record.map(|record| recordio::encode(&media.encode(&record)));
        std::future::ready(framed.map(Ok::<Bytes, Infallible>))
    });
    let headers = [
        (CONTENT_TYPE.as_str(), RECORDS),
        (MESSAGE_CONTENT_TYPE, media.name()),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}
