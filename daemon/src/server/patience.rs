//! How long callers may take: whoever says what it wants byte by byte keeps a connection, and memory, from others.
//!
//! ```text
//! accepted ──FIRST_BYTES──▶ HTTP/1 or HTTP/2 is known ──head: hyper's 30 s──▶ request ──BODY──▶ it is whole
//! ```
//! A peer of HTTP/2 is asked whether it lives all the while. What answers may take as long as it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body_util::Limited;
use tokio::time::{Sleep, sleep};

/// From a connection to its first bytes (hyper waits as long for the head of a request).
const FIRST_BYTES: Duration = Duration::from_secs(30);
/// From the head of an HTTP request to the end of its body: the largest comes with 1.2 Mbit/s.
const BODY: Duration = Duration::from_secs(60);
/// What a connection of HTTP/2 begins with (RFC 9113 §3.4). Until something else comes it may be either.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of which nobody knows yet what it speaks.
pub(super) struct FirstBytes {
    seen: usize,
    end: Pin<Box<Sleep>>,
}

impl FirstBytes {
    pub(super) fn awaited() -> Self {
        Self::within(FIRST_BYTES)
    }

    fn within(patience: Duration) -> Self {
        Self {
            seen: 0,
            end: Box::pin(sleep(patience)),
        }
    }

    /// These have come; whether it is known now what is spoken.
    pub(super) fn are_enough(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen..];
        self.seen += bytes.len().min(rest.len());
        self.seen == PREFACE.len() || !rest.starts_with(bytes)
    }

    /// Ready when they have not come in time.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.end.as_mut().poll(context));
        let words = "nothing came that says what is spoken";
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, words))
    }
}

/// A body that has an end in bytes and in time.
pub(super) struct Timely<B> {
    body: Limited<B>,
    end: Pin<Box<Sleep>>,
}

impl<B> Timely<B> {
    pub(super) fn new(body: B, limit_bytes: usize) -> Self {
        Self::within(body, limit_bytes, BODY)
    }

    fn within(body: B, limit_bytes: usize, patience: Duration) -> Self {
        Self {
            body: Limited::new(body, limit_bytes),
            end: Box::pin(sleep(patience)),
        }
    }
}

/// It did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("it did not come in time")]
struct Late;

impl<B> HttpBody for Timely<B>
where
    B: HttpBody<Data = Bytes, Error = axum::Error> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Some(Err(Late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::StreamExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    fn known_after(pieces: &[&[u8]]) -> Option<usize> {
        let mut first = FirstBytes::awaited();
        let known = |piece: &&[u8]| first.are_enough(piece);
        pieces.iter().position(known)
    }

    #[tokio::test]
    async fn what_is_spoken_is_known_from_the_first_byte_that_differs() {
        assert_eq!(known_after(&[b"G"]), Some(0));
        assert_eq!(known_after(&[b"P", b"OST / HTTP/1.1"]), Some(1));
        assert_eq!(known_after(&[b"PRI * HTTP/2.0\r\n", b"\r\nSM"]), None);
        assert_eq!(known_after(&[PREFACE]), Some(0));
        let (one, two) = PREFACE.split_at(5);
        assert_eq!(known_after(&[one, &[two, b"more"].concat()]), Some(1));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_an_error() {
        let half = futures::stream::once(async { Ok::<_, io::Error>(Bytes::from("half")) });
        let body = Body::from_stream(half.chain(futures::stream::pending()));

        let collected = Timely::within(body, 9, Duration::from_millis(10)).collect();

        let error = collected.await.expect_err("it has no end").to_string();
        assert_eq!(error, "it did not come in time");
    }
}
