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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::Stream;
use mete_master_core::LinkId;
use mete_proto::mesos::v1::scheduler::Event;
use mete_proto::mete::v1::MasterMessage;
use prost::Message;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, warn};

/// Messages that may wait on one stream: the news of an agent with all its tasks, many times over. At some hundred bytes each,
/// that is tens of MB for a stream at its worst, and nothing for one that is read.
const QUEUE_CAPACITY: usize = 131_072;

/// Bytes of them: messages of frameworks and data of tasks can be megabytes each.
const MAX_WAITING_BYTES: usize = 256 << 20;

/// So many that wait are not weighed: a stream that is read never has more, and weighing takes time.
const UNWEIGHED: usize = 16;

/// What waits on a stream. A queue has room for dozens before anything waits, and a message can be a kilobyte: in place, ten
/// thousand agents' queues would take a gigabyte.
enum Queued<T> {
    Said {
        message: Box<T>,
        /// Encoded, as far as it was weighed.
        bytes: usize,
    },
    /// What was queued before has been read.
    Mark,
    LastWord(Status),
}

/// What goes out on a stream.
pub(crate) type Outbound<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream as its reader knows it.
pub(crate) struct Opened<T> {
    /// Its name.
    pub(crate) link: LinkId,
    /// What goes out on it.
    pub(crate) outbound: Outbound<T>,
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
    queue: Queue,
    cut: CancellationToken,
    over: CancellationToken,
}

enum Queue {
    ToFramework(Waiting<Event>),
    ToAgent(Waiting<MasterMessage>),
}

/// What waits on one stream.
struct Waiting<T> {
    sender: mpsc::Sender<Queued<T>>,
    /// Of what was weighed and waits.
    bytes: Arc<AtomicUsize>,
}

impl Links {
    /// A new stream to a framework.
    pub(crate) fn open_to_framework(&self) -> Opened<Event> {
        self.open(Queue::ToFramework)
    }

    /// A new stream to an agent.
    pub(crate) fn open_to_agent(&self) -> Opened<MasterMessage> {
        self.open(Queue::ToAgent)
    }

    /// Sends to a framework.
    pub(crate) fn send_to_framework(&self, link: LinkId, event: Event) {
        let mut state = self.state();
        let sent = match state.live.get(&link).map(|link| &link.queue) {
            Some(Queue::ToFramework(queue)) => queue.put(event),
            Some(Queue::ToAgent(_)) | None => return,
        };
        state.settle(link, sent);
    }

    /// Has the owner of a framework's stream told when what is queued on it has been read. One mark at a time.
    pub(crate) fn say_when_read(&self, link: LinkId) {
        let mut state = self.state();
        let sent = match state.live.get(&link).map(|link| &link.queue) {
            Some(Queue::ToFramework(queue)) => queue.try_send(Queued::Mark),
            Some(Queue::ToAgent(_)) | None => return,
        };
        state.settle(link, sent);
    }

    /// Sends to an agent.
    pub(crate) fn send_to_agent(&self, link: LinkId, message: MasterMessage) {
        let mut state = self.state();
        let sent = match state.live.get(&link).map(|link| &link.queue) {
            Some(Queue::ToAgent(queue)) => queue.put(message),
            Some(Queue::ToFramework(_)) | None => return,
        };
        state.settle(link, sent);
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
        if let Some(Link { queue, over, .. }) = ended {
            // A queue without room for a last word ends without.
            match queue {
                Queue::ToFramework(queue) => drop(queue.try_send(Queued::LastWord(status))),
                Queue::ToAgent(queue) => drop(queue.try_send(Queued::LastWord(status))),
            }
            over.cancel();
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

    fn open<T: Send + 'static>(&self, queue: impl FnOnce(Waiting<T>) -> Queue) -> Opened<T> {
        let (sender, waiting) = mpsc::channel(QUEUE_CAPACITY);
        let (cut, over) = (CancellationToken::new(), CancellationToken::new());
        let (read, bytes) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let outbound = outbound(waiting, Arc::clone(&bytes), Arc::clone(&read), cut.clone());
        let mut state = self.state();
        state.given_out += 1;
        let link = LinkId(state.given_out);
        if state.closed {
            over.cancel();
        } else {
            let live = Link {
                queue: queue(Waiting { sender, bytes }),
                cut,
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
                    link.cut.cancel();
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

impl<T: Message> Waiting<T> {
    fn put(&self, message: T) -> Sent {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        let bytes = match waiting < UNWEIGHED {
            true => 0,
            false => message.encoded_len(),
        };
        if self.bytes.load(Ordering::Relaxed) + bytes > MAX_WAITING_BYTES {
            return Sent::Full;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let message = Box::new(message);
        self.try_send(Queued::Said { message, bytes })
    }
}

impl<T> Waiting<T> {
    fn try_send(&self, queued: Queued<T>) -> Sent {
        match self.sender.try_send(queued) {
            Ok(()) => Sent::Queued,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Closed(_)) => Sent::Gone,
        }
    }
}

/// What waits, until it is cut; then one last word.
fn outbound<T: Send + 'static>(
    waiting: mpsc::Receiver<Queued<T>>,
    waiting_bytes: Arc<AtomicUsize>,
    read: Arc<Notify>,
    cut: CancellationToken,
) -> Outbound<T> {
    let last_word = cut.clone();
    let last_word = futures::stream::once(async move { last_word.is_cancelled() })
        .filter_map(|cut| std::future::ready(cut.then(|| Err(too_slow()))));
    ReceiverStream::new(waiting)
        .filter_map(move |queued| {
            std::future::ready(match queued {
                Queued::Said { message, bytes } => {
                    waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    Some(Ok(*message))
                }
                Queued::LastWord(status) => Some(Err(status)),
                Queued::Mark => {
                    read.notify_one();
                    None
                }
            })
        })
        .take_until(cut.cancelled_owned())
        .chain(last_word)
        .boxed()
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
    use mete_proto::mesos::v1::scheduler::event;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn what_is_queued_is_sent_before_the_end() {
        let links = Links::default();
        let stream = links.open_to_framework();
        links.send_to_framework(stream.link, Event::default());
        links.end(stream.link, Status::invalid_argument("nonsense"));
        links.send_to_framework(stream.link, Event::default());

        let sent: Vec<_> = stream.outbound.collect().await;

        assert!(stream.over.is_cancelled());
        let codes: Vec<_> = sent
            .into_iter()
            .map(|sent| sent.map_err(|status| status.code()))
            .collect();
        assert_eq!(codes, [Ok(Event::default()), Err(Code::InvalidArgument)]);
    }

    #[tokio::test]
    async fn a_full_stream_is_cut_and_told_so() {
        let links = Links::default();
        let stream = links.open_to_agent();
        for _ in 0..=QUEUE_CAPACITY {
            links.send_to_agent(stream.link, MasterMessage::default());
        }

        assert!(stream.over.is_cancelled());
        let last = stream.outbound.collect::<Vec<_>>().await.pop();
        let code = last.map(|last| last.map_err(|status| status.code()));
        assert_eq!(code, Some(Err(Code::ResourceExhausted)));
    }

    #[tokio::test]
    async fn a_stream_on_which_too_many_bytes_wait_is_cut() {
        let links = Links::default();
        let stream = links.open_to_framework();
        let large = Event {
            message: Some(event::Message {
                data: vec![0; 16 << 20].into(),
                ..event::Message::default()
            }),
            ..Event::default()
        };
        for _ in 0..=UNWEIGHED + MAX_WAITING_BYTES / (16 << 20) {
            links.send_to_framework(stream.link, large.clone());
        }

        assert!(stream.over.is_cancelled());
    }

    #[tokio::test]
    async fn at_the_end_no_stream_opens() {
        let links = Links::default();
        links.close_all();

        let stream = links.open_to_agent();

        assert!(stream.over.is_cancelled());
        assert_eq!(stream.outbound.count().await, 0);
    }
}
