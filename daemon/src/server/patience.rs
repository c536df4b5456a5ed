//! How long callers may take: whoever says what it wants byte by byte keeps a connection, and memory, from others.
//!
//! ```text
//! accepted ──FIRST_HEAD──▶ HTTP/2 is known, or the first head of HTTP/1 is whole ──▶ request ──BODY──▶ it is whole
//!                                   IDLE between an answer and the next head ──────────▲──────────────────┘
//! ```
//! A peer of HTTP/2 is asked whether it lives all the while. What answers may take as long as it likes. Whoever was answered
//! once may be silent for as long as frameworks are, and does not lose its next call: some clients repeat none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body_util::Limited;
use tokio::time::{Sleep, sleep};

/// From a connection to the end of its first head.
const FIRST_HEAD: Duration = Duration::from_secs(30);
/// From an answer to the end of the next head: a day. Mesos waits for ever; whoever is dead is noticed by the kernel.
pub(super) const IDLE: Duration = Duration::from_secs(24 * 3_600);
/// From the head of an HTTP request to the end of its body: the largest comes with 1.2 Mbit/s.
const BODY: Duration = Duration::from_secs(60);
/// What a connection of HTTP/2 begins with (RFC 9113 §3.4). Until something else comes it may be either.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of which nobody knows yet what it speaks, or what it wants.
pub(super) struct FirstHead {
    /// So much of the preface has come; `None`: something else has.
    seen: Option<usize>,
    /// So many ends of lines one right after the other.
    line_ends: u8,
    end: Pin<Box<Sleep>>,
}

impl FirstHead {
    pub(super) fn awaited() -> Self {
        Self::within(FIRST_HEAD)
    }

    fn within(patience: Duration) -> Self {
        Self {
            seen: Some(0),
            line_ends: 0,
            end: Box::pin(sleep(patience)),
        }
    }

    /// These have come; whether HTTP/2 is spoken, or the head is whole.
    pub(super) fn is_whole_with(&mut self, bytes: &[u8]) -> bool {
        if let Some(seen) = self.seen {
            let rest = &PREFACE[seen..];
            let length = bytes.len().min(rest.len());
            self.seen = (bytes[..length] == rest[..length]).then_some(seen + length);
            if self.seen == Some(PREFACE.len()) {
                return true;
            }
        }
        for byte in bytes {
            match byte {
                b'\n' => self.line_ends += 1,
                b'\r' => {}
                _ => self.line_ends = 0,
            }
            // An empty line is the end (RFC 9112 §2.2 lets the CR be left out). One of the preface is none yet.
            if self.line_ends == 2 && self.seen.is_none() {
                return true;
            }
        }
        false
    }

    /// Ready when they have not come in time.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.end.as_mut().poll(context));
        let words = "nothing came that says what is wanted";
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
        let mut first = FirstHead::awaited();
        let known = |piece: &&[u8]| first.is_whole_with(piece);
        pieces.iter().position(known)
    }

    #[tokio::test]
    async fn what_is_wanted_is_known_from_the_preface_or_with_an_empty_line() {
        assert_eq!(known_after(&[b"GET / HTTP/1.1\r\nHost: x\r\n"]), None);
        assert_eq!(known_after(&[b"GET / HTTP/1.0\r\n\r\nmore"]), Some(0));
        assert_eq!(
            known_after(&[b"P", b"OST / HTTP/1.1\r\nA: b\r", b"\n\n"]),
            Some(2)
        );
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
