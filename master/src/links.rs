//! Live streams, each with a bounded queue of what is still to be sent on it.
//!
//! ```text
//! open ─▶ send, send … ─▶ closed (what is queued is still sent) | ended (the same, then a status) | cut (nothing more)
//! ```
//! A queue that is full is never waited for: its stream is cut, and its owner comes back and is told the whole truth.
//! What is sent on a stream that is gone is dropped: the reader of that stream has told, or will tell, that it broke.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::stream::Stream;
use mete_master_core::LinkId;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, warn};

/// Messages that may wait on one stream: the news of an agent with all its tasks, many times over. At some hundred bytes each,
/// that is tens of MB for a stream at its worst, and nothing for one that is read.
const QUEUE_CAPACITY: usize = 131_072;

/// Bytes of them: messages of frameworks and data of tasks can be megabytes each.
const MAX_WAITING_BYTES: usize = 256 << 20;

/// What waits on a stream.
enum Queued {
    /// A message, encoded.
    Said(Bytes),
    /// What was queued before has been read.
    Mark,
    LastWord(Status),
}

/// A stream as its reader knows it.
pub(crate) struct Opened {
    /// Its name.
    pub(crate) link: LinkId,
    /// What goes out on it.
    pub(crate) outbound: Outbound,
    /// Nothing more is to be read from it.
    pub(crate) over: CancellationToken,
    /// Told when what was queued before a mark has been read.
    pub(crate) read: Arc<Notify>,
}

/// All live streams. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    given_out: u64,
    /// Set at the end: no stream opens any more.
    closed: bool,
    live: BTreeMap<LinkId, Link>,
}

struct Link {
    queue: mpsc::Sender<Queued>,
    waiting: Arc<Waiting>,
    over: CancellationToken,
}

/// What both ends of a stream's queue know.
#[derive(Default)]
struct Waiting {
    /// Of the messages in the queue.
    bytes: AtomicUsize,
    /// Nothing of the queue is sent any more.
    is_cut: AtomicBool,
}

impl Links {
    /// A new stream.
    pub(crate) fn open(&self) -> Opened {
        let (sender, queue) = mpsc::channel(QUEUE_CAPACITY);
        let (over, read) = (CancellationToken::new(), Arc::new(Notify::new()));
        let waiting = Arc::<Waiting>::default();
        let outbound = Outbound {
            queue,
            waiting: Arc::clone(&waiting),
            read: Arc::clone(&read),
            is_over: false,
        };
        let mut state = self.state();
        state.given_out += 1;
        let link = LinkId(state.given_out);
        if state.closed {
            over.cancel();
        } else {
            let live = Link {
                queue: sender,
                waiting,
                over: over.clone(),
            };
            state.live.insert(link, live);
        }
        Opened {
            link,
            outbound,
            over,
            read,
        }
    }

    /// Sends a message, encoded.
    pub(crate) fn send(&self, link: LinkId, message: Bytes) {
        let mut state = self.state();
        if let Some(sent) = state.live.get(&link).map(|link| link.say(message)) {
            state.settle(link, sent);
        }
    }

    /// Has the owner of a stream told when what is queued on it has been read. One mark at a time.
    pub(crate) fn say_when_read(&self, link: LinkId) {
        let mut state = self.state();
        if let Some(sent) = state.live.get(&link).map(|link| link.put(Queued::Mark)) {
            state.settle(link, sent);
        }
    }

    /// Ends a stream after what is queued on it.
    pub(crate) fn close(&self, link: LinkId) {
        let closed = self.state().live.remove(&link);
        if let Some(closed) = closed {
            closed.over.cancel();
        }
    }

    /// Ends a stream after what is queued on it, and says why.
    pub(crate) fn end(&self, link: LinkId, status: Status) {
        let ended = self.state().live.remove(&link);
        if let Some(ended) = ended {
            // A queue without room for a last word ends without.
            ended.put(Queued::LastWord(status));
            ended.over.cancel();
        }
    }

    /// Ends every stream after what is queued on it; none opens any more.
    pub(crate) fn close_all(&self) {
        let all = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.live)
        };
        all.into_values().for_each(|link| link.over.cancel());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; the state is whole even if something had.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn settle(&mut self, link: LinkId, sent: Sent) {
        match sent {
            Sent::Queued => {}
            Sent::Full => {
                warn!(
                    link = link.0,
                    max_messages = QUEUE_CAPACITY,
                    max_bytes = MAX_WAITING_BYTES,
                    "stream is not read fast enough and is cut"
                );
                if let Some(link) = self.live.remove(&link) {
                    link.waiting.is_cut.store(true, Ordering::Release);
                    link.over.cancel();
                }
            }
            Sent::Gone => {
                debug!(link = link.0, "message for a stream that is gone");
                self.live.remove(&link);
            }
        }
    }
}

enum Sent {
    Queued,
    Full,
    Gone,
}

impl Link {
    fn say(&self, message: Bytes) -> Sent {
        let bytes = message.len();
        let waiting = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > MAX_WAITING_BYTES {
            return Sent::Full;
        }
        self.put(Queued::Said(message))
    }

    fn put(&self, queued: Queued) -> Sent {
        match self.queue.try_send(queued) {
            Ok(()) => Sent::Queued,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Closed(_)) => Sent::Gone,
        }
    }
}

/// What waits on a stream, until it is cut; then one last word. Whoever cuts it drops the other end of the queue, which wakes
/// who waits here.
pub(crate) struct Outbound {
    queue: mpsc::Receiver<Queued>,
    waiting: Arc<Waiting>,
    read: Arc<Notify>,
    is_over: bool,
}

impl Outbound {
    fn end(&mut self, status: Option<Status>) -> Poll<Option<Result<Bytes, Status>>> {
        self.is_over = true;
        Poll::Ready(status.map(Err))
    }
}

impl Stream for Outbound {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            if self.waiting.is_cut.load(Ordering::Acquire) {
                return self.end(Some(too_slow()));
            }
            match ready!(self.queue.poll_recv(context)) {
                Some(Queued::Said(message)) => {
                    self.waiting
                        .bytes
                        .fetch_sub(message.len(), Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(message)));
                }
                Some(Queued::Mark) => self.read.notify_one(),
                Some(Queued::LastWord(status)) => return self.end(Some(status)),
                None if self.waiting.is_cut.load(Ordering::Acquire) => {}
                None => return self.end(None),
            }
        }
    }
}

fn too_slow() -> Status {
    Status::resource_exhausted(
        "the stream was not read fast enough; come back to hear how things stand",
    )
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("live", &self.state().live.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn what_is_queued_is_sent_before_the_end() {
        let links = Links::default();
        let stream = links.open();
        links.send(stream.link, Bytes::from_static(b"event"));
        links.end(stream.link, Status::invalid_argument("nonsense"));
        links.send(stream.link, Bytes::from_static(b"event"));

        let sent: Vec<_> = stream.outbound.collect().await;

        assert!(stream.over.is_cancelled());
        let codes: Vec<_> = sent
            .into_iter()
            .map(|sent| sent.map_err(|status| status.code()))
            .collect();
        assert_eq!(
            codes,
            [Ok(Bytes::from_static(b"event")), Err(Code::InvalidArgument)]
        );
    }

    #[tokio::test]
    async fn a_full_stream_is_cut_and_told_so() {
        let links = Links::default();
        let stream = links.open();
        for _ in 0..=QUEUE_CAPACITY {
            links.send(stream.link, Bytes::new());
        }

        assert!(stream.over.is_cancelled());
        let last = stream.outbound.collect::<Vec<_>>().await.pop();
        let code = last.map(|last| last.map_err(|status| status.code()));
        assert_eq!(code, Some(Err(Code::ResourceExhausted)));
    }

    #[tokio::test]
    async fn a_stream_on_which_too_many_bytes_wait_is_cut() {
        let links = Links::default();
        let stream = links.open();
        let large = Bytes::from(vec![0; 16 << 20]);
        for _ in 0..=MAX_WAITING_BYTES / large.len() {
            links.send(stream.link, large.clone());
        }

        assert!(stream.over.is_cancelled());
    }

    #[tokio::test]
    async fn at_the_end_no_stream_opens() {
        let links = Links::default();
        links.close_all();

        let stream = links.open();

        assert!(stream.over.is_cancelled());
        assert_eq!(stream.outbound.count().await, 0);
    }
}
