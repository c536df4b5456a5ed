//! A store that forgets with the process: for tests and for clusters that are made to be thrown away.
//!
//! Clones share their entries, so that a test can restart a daemon on what its predecessor stored.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::BoxFuture;

use super::{Batch, Entry, Fence, PAGE_BYTES, Page, Snapshot, Store, StoreError};

/// Entries in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    epoch: Option<Fence>,
    failure: Option<StoreError>,
    commits: u64,
}

impl Memory {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every commit fails with `error` and changes nothing; `None` ends that.
    pub fn fail_commits(&self, error: Option<StoreError>) {
        self.state().failure = error;
    }

    /// How many commits have succeeded.
    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Store for Memory {
    fn load(
        &self,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let page = page(&self.state().entries, after, limit);
        Box::pin(std::future::ready(Ok(page)))
    }

    fn commit(
        &self,
        batches: Vec<Batch>,
        fence: Option<Fence>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(self.state().apply(batches, fence)))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>, StoreError>> {
        let moment = Moment(self.state().entries.clone());
        Box::pin(std::future::ready(
            Ok(Box::new(moment) as Box<dyn Snapshot>),
        ))
    }
}

/// The entries of one moment.
struct Moment(BTreeMap<Vec<u8>, Vec<u8>>);

impl Snapshot for Moment {
    fn load(
        &self,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(std::future::ready(Ok(page(&self.0, after, limit))))
    }
}

fn page(entries: &BTreeMap<Vec<u8>, Vec<u8>>, after: Option<Vec<u8>>, limit: usize) -> Page {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Page::default();
    let mut bytes = 0;
    for (key, value) in entries.range((from, Bound::Unbounded)) {
        if page.entries.len() == limit || bytes >= PAGE_BYTES {
            page.next = page.entries.last().map(|(key, _): &Entry| key.clone());
            break;
        }
        bytes += key.len() + value.len();
        page.entries.push((key.clone(), value.clone()));
    }
    page
}

impl State {
    fn apply(&mut self, batches: Vec<Batch>, fence: Option<Fence>) -> Result<(), StoreError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        if let Some(held) = fence {
            if let Some(stored) = self.epoch.filter(|stored| *stored > held) {
                return Err(StoreError::Fenced { held, stored });
            }
            self.epoch = Some(held);
        }
        for change in batches.into_iter().flat_map(|batch| batch.0) {
            match change.value {
                Some(value) => self.entries.insert(change.key, value),
                None => self.entries.remove(&change.key),
            };
        }
        self.commits += 1;
        Ok(())
    }
}
