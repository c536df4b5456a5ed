//! What waits for one reader of the cluster's events: records, bounded in number and in bytes. What is too much is not taken,
//! and its reader is to be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::wrappers::ReceiverStream;

/// Events that may wait for one reader: the start of 100,000 tasks. They are shared between readers.
const MAX_EVENTS: usize = 131_072;
/// Their bytes, besides those of the first record, which is all there is: the start of 100,000 usual tasks, with room.
const MAX_BYTES: usize = 256 << 20;

/// The end at which records are put in.
#[derive(Debug)]
pub(super) struct Backlog {
    queue: mpsc::Sender<Bytes>,
    /// Of what waits.
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits for its reader.
    Waits,
    /// So much waits already.
    Full { events: usize, bytes: usize },
    /// Nobody reads any more.
    Gone,
}

/// An empty one, and what comes out of it.
pub(super) fn open() -> (Backlog, impl Stream<Item = Bytes> + Send + use<>) {
    let (queue, records) = mpsc::channel(MAX_EVENTS);
    let bytes = Arc::new(AtomicUsize::new(0));
    let waiting = Arc::clone(&bytes);
    let records = ReceiverStream::new(records).inspect(move |record: &Bytes| {
        waiting.fetch_sub(record.len(), Ordering::Relaxed);
    });
    let backlog = Backlog {
        queue,
        bytes,
        max_bytes: MAX_BYTES,
    };
    (backlog, records)
}

impl Backlog {
    /// Puts in what a reader begins with, however large. False: nobody reads.
    pub(super) fn begin(&mut self, first: [Bytes; 2]) -> bool {
        let length: usize = first.iter().map(Bytes::len).sum();
        self.max_bytes = MAX_BYTES + length;
        let put = |record| self.push(record) == Pushed::Waits;
        first.into_iter().all(put)
    }

    /// Puts in one record more.
    pub(super) fn push(&self, record: Bytes) -> Pushed {
        let length = record.len();
        let bytes = self.bytes.load(Ordering::Relaxed);
        let events = self.queue.max_capacity() - self.queue.capacity();
        if bytes + length > self.max_bytes {
            return Pushed::Full { events, bytes };
        }
        self.bytes.fetch_add(length, Ordering::Relaxed);
        match self.queue.try_send(record) {
            Ok(()) => Pushed::Waits,
            Err(TrySendError::Full(_)) => Pushed::Full { events, bytes },
            Err(TrySendError::Closed(_)) => Pushed::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_what_was_read_counts_no_more() {
        let (mut backlog, mut records) = open();
        let large = Bytes::from(vec![0; MAX_BYTES / 2]);
        assert!(backlog.begin([Bytes::from(vec![0; MAX_BYTES]), Bytes::new()]));

        assert_eq!(backlog.push(large.clone()), Pushed::Waits);
        assert_eq!(backlog.push(large.clone()), Pushed::Waits);
        let full = Pushed::Full {
            events: 4,
            bytes: 2 * MAX_BYTES,
        };
        assert_eq!(backlog.push(large.clone()), full);

        for _ in 0..3 {
            records.next().await.expect("a record");
        }
        assert_eq!(backlog.push(large), Pushed::Waits);
        drop(records);
        assert_eq!(backlog.push(Bytes::new()), Pushed::Gone);
    }
}
