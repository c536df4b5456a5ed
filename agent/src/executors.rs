//! The streams on which executors of frameworks' own listen: what the core has to say to one, in Mesos' words.
//!
//! Invariants: a stream that does not take what it is told is ended, and its executor comes again; so nothing waits without
//! bound.

mod events; // in Mesos' words
mod tokens; // what an executor shows to be let in

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mete_agent_core::ToExecutor;
use mete_proto::mesos::v1::executor::Event;
use tokio::sync::mpsc;
use tracing::warn;

use crate::master_link::Introduction;
pub(crate) use events::heartbeat;
pub(crate) use tokens::ExecutorTokens;

/// Events that may wait on one stream: some seconds of a busy executor.
const MAX_WAITING: usize = 4_096;

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ExecutorStreams {
    all: Arc<Mutex<Streams>>,
    introduction: Arc<Introduction>,
}

#[derive(Default)]
struct Streams {
    last: u64,
    open: BTreeMap<u64, mpsc::Sender<Box<Event>>>,
}

impl ExecutorStreams {
    pub(crate) fn new(introduction: Introduction) -> Self {
        Self {
            all: Arc::default(),
            introduction: Arc::new(introduction),
        }
    }

    /// A new stream: its name, and what is said on it.
    pub(crate) fn open(&self) -> (u64, mpsc::Receiver<Box<Event>>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let mut all = self.streams();
        all.last += 1;
        let link = all.last;
        all.open.insert(link, sender);
        (link, receiver)
    }

    /// Says something on a stream, which ends when it cannot take it.
    pub(crate) fn tell(&self, link: u64, event: &ToExecutor) {
        let event = Box::new(events::to_wire(event, &self.introduction));
        let mut all = self.streams();
        let said = all.open.get(&link).map(|stream| stream.try_send(event));
        if matches!(said, Some(Err(_))) {
            warn!(link, "stream of an executor that does not read is ended");
            all.open.remove(&link);
        }
    }

    /// Ends a stream, after what was said on it before.
    pub(crate) fn close(&self, link: u64) {
        self.streams().open.remove(&link);
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // Nothing panics while it holds the lock; the map is whole even if something had.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
