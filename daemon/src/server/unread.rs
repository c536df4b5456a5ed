//! An error that is answered before the body was read ends the connection: what is left of the body stands in the way of the
//! next request. Said in the answer, clients do not try.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};

/// Whether a body has been read to its end.
#[derive(Debug)]
pub(super) struct Read(Arc<AtomicBool>);

/// Watches how the body of a request is read; of HTTP/2 not, which knows requests apart.
pub(super) fn watched(request: Request) -> (Request, Read) {
    let has_end = request.version() >= Version::HTTP_2 || request.body().is_end_stream();
    let is_read = Arc::new(AtomicBool::new(has_end));
    let read = Read(Arc::clone(&is_read));
    if has_end {
        return (request, read);
    }
    (
        request.map(|body| Body::new(Watched { body, is_read })),
        read,
    )
}

impl Read {
    /// Says in an error that the connection ends by it, if it does.
    pub(super) fn tell(&self, response: &mut Response) {
        let status = response.status();
        let is_error = status.is_client_error() || status.is_server_error();
        if is_error && !self.0.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }
}

struct Watched {
    body: Body,
    is_read: Arc<AtomicBool>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
