//! Which subscription has which `Mesos-Stream-Id`: a call is a request of its own, and says by it which subscription it
//! belongs to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mete_master_core::LinkId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The subscriptions over HTTP that are read at the moment. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<BTreeMap<LinkId, Uuid>>>);

/// A subscription as long as somebody reads it; dropped with the body of its answer.
#[derive(Debug)]
pub(super) struct Read {
    streams: Streams,
    link: LinkId,
    over: CancellationToken,
}

impl Streams {
    /// A new subscription: its id, what is to be kept as long as it is read, and what tells that it is not read any more.
    pub(super) fn open(&self, link: LinkId) -> (Uuid, Read, CancellationToken) {
        let (id, over) = (Uuid::new_v4(), CancellationToken::new());
        self.all().insert(link, id);
        let read = Read {
            streams: self.clone(),
            link,
            over: over.clone(),
        };
        (id, read, over)
    }

    /// The id of a subscription over HTTP; `None` for every other stream.
    pub(super) fn id(&self, link: LinkId) -> Option<Uuid> {
        self.all().get(&link).copied()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<LinkId, Uuid>> {
        // Nothing panics while it holds the lock; the map is whole even if something had.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.streams.all().remove(&self.link);
        self.over.cancel();
    }
}
