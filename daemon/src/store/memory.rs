//! A store that forgets with the process: for tests and for clusters that are made to be thrown away.
//!
//! Clones share their entries, so that a test can restart a daemon on what its predecessor stored.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::BoxFuture;

use super::{Batch, Fence, Page, Store, StoreError};

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
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = state
            .entries
            .range((from, Bound::Unbounded))
            .map(|(key, value)| (key.clone(), value.clone()));
        let entries: Vec<_> = range.by_ref().take(limit).collect();
        let next = range
            .next()
            .and_then(|_| entries.last().map(|(key, _)| key.clone()));
        Box::pin(std::future::ready(Ok(Page { entries, next })))
    }

    fn commit(
        &self,
        batches: Vec<Batch>,
        fence: Option<Fence>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(self.state().apply(batches, fence)))
    }
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
