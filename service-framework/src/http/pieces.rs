//! Large answers, written piece by piece as they are read: what is asked for is chosen at once and from one view, but each
//! part of it becomes JSON only when the caller has taken what was before, and never when the caller has gone.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

/// Parts are put together to pieces of at least so many bytes: what a socket takes at once. One that is larger is a piece
/// of its own.
const PIECE_BYTES: usize = 64 * 1024;

/// What an answer consists of.
pub(super) enum Part<T> {
    /// JSON as it stands.
    Text(String),
    /// What is to become JSON.
    Value(T),
}

/// A list as JSON, between two texts.
pub(super) fn list<T>(
    before: &'static str,
    items: impl IntoIterator<Item = T>,
    after: &'static str,
) -> Vec<Part<T>> {
    let mut parts = vec![Part::Text(before.to_owned())];
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            parts.push(Part::Text(",".to_owned()));
        }
        parts.push(Part::Value(item));
    }
    parts.push(Part::Text(after.to_owned()));
    parts
}

/// An answer of these parts. One that is a single piece says how long it is, as others do.
pub(super) fn answer<T, V: Serialize>(
    parts: Vec<Part<T>>,
    write: impl Fn(T) -> V + Send + 'static,
) -> Response
where
    T: Send + 'static,
{
    let mut pieces = Pieces {
        parts: parts.into_iter(),
        write,
    };
    let first = pieces.next().unwrap_or_default();
    let body = match pieces.parts.len() {
        0 => Body::from(first),
        _ => {
            let all = std::iter::once(first).chain(pieces);
            let all = all.map(Ok::<Bytes, Infallible>);
            Body::from_stream(futures::stream::iter(all))
        }
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

struct Pieces<T, W> {
    parts: std::vec::IntoIter<Part<T>>,
    write: W,
}

impl<T, V: Serialize, W: Fn(T) -> V> Iterator for Pieces<T, W> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES
            && let Some(part) = self.parts.next()
        {
            match part {
                Part::Text(text) => piece.extend_from_slice(text.as_bytes()),
                Part::Value(value) => {
                    let written = serde_json::to_writer(&mut piece, &(self.write)(value));
                    if let Err(failure) = written {
                        error!(error = %failure, "part of an answer cannot be written");
                    }
                }
            }
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{HttpBody as _, to_bytes};
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_list_is_what_it_would_be_in_one() {
        for count in [0, 1, 3, 10_000] {
            let items: Vec<String> = (0..count).map(|at| format!("item {at}")).collect();
            let whole = serde_json::json!({ "all": items }).to_string();

            let answer = answer(list("{\"all\":[", items, "]}"), |item| item);

            let is_short = answer.body().size_hint().exact().is_some();
            assert_eq!(is_short, count < 1_000);
            let body = to_bytes(answer.into_body(), usize::MAX).await;
            assert_eq!(body.expect("a body"), whole);
        }
    }

    #[tokio::test]
    async fn nothing_is_written_for_who_does_not_read() {
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let items = vec!["x".repeat(PIECE_BYTES); 100];

        let answer = answer(list("[", items, "]"), move |item| {
            count.fetch_add(1, Ordering::Relaxed);
            item
        });
        let mut body = answer.into_body().into_data_stream();
        body.next().await.expect("one").expect("a piece");
        assert_eq!(written.load(Ordering::Relaxed), 1);
        body.next().await.expect("one").expect("a piece");
        drop(body);

        assert_eq!(written.load(Ordering::Relaxed), 2);
    }
}
