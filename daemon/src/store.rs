//! Where records lie: keys and values in bytes, changed in atomic batches, loaded page by page.
//!
//! Invariants: batches are stored in the order given, each whole or not at all; a batch holds whole records (at most
//! [`MAX_OPERATIONS`] changes and [`MAX_BATCH_BYTES`], except one record that is larger by itself); values above
//! [`CHUNK_BYTES`] are cut into chunks and joined again by the store, unseen by its users. A commit with nothing to
//! store does not happen.

pub mod backup; // all entries of a moment in one file that proves itself whole
pub mod memory; // for tests and for clusters that may forget
pub mod redb; // one file, one thread

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use mete_model::machine::{Change, Durable};

use crate::directory::DirectoryError;
use crate::event_loop::Journal;

/// The most changes in one batch: etcd's default bound on operations per transaction is 128.
pub const MAX_OPERATIONS: usize = 100;
/// The most bytes of keys and values in one batch: etcd's default bound on a request is 1.5 MiB.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The largest value stored in one piece: two of them fill a batch.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// Entries per page of [`load_all`]: at a usual 1 KiB each a page stays below 1 MiB.
pub const PAGE_ENTRIES: usize = 1_000;
/// A page that has so many bytes of keys and values takes no further entry.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// One key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Some entries in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The key to go on after; `None` when this page is the last.
    pub next: Option<Vec<u8>>,
}

/// The epoch of the one who writes. A store that has seen a later one refuses the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Changes stored together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(Vec<Change>);

impl Batch {
    /// Packs records into as few batches as the bounds allow, in order, never splitting a record.
    pub fn pack<R: Durable>(records: &[R]) -> Vec<Self> {
        let (mut batches, mut current, mut bytes) = (Vec::new(), Vec::new(), 0);
        for record in records {
            let changes = record.changes();
            let size: usize = changes.iter().map(size_bytes).sum();
            let full =
                current.len() + changes.len() > MAX_OPERATIONS || bytes + size > MAX_BATCH_BYTES;
            if full && !current.is_empty() {
                batches.push(Self(std::mem::take(&mut current)));
                bytes = 0;
            }
            current.extend(changes);
            bytes += size;
        }
        if !current.is_empty() {
            batches.push(Self(current));
        }
        batches
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.0
    }
}

impl From<Vec<Change>> for Batch {
    fn from(changes: Vec<Change>) -> Self {
        Self(changes)
    }
}

fn size_bytes(change: &Change) -> usize {
    change.key.len() + change.value.as_ref().map_or(0, Vec::len)
}

/// A place that keeps entries over a restart.
pub trait Store: Send + Sync + 'static {
    /// Up to `limit` entries whose keys come after `after` (from the first when `None`), in the order of their keys; fewer
    /// when they have more than [`PAGE_BYTES`].
    fn load(&self, after: Option<Vec<u8>>, limit: usize)
    -> BoxFuture<'_, Result<Page, StoreError>>;

    /// Stores the batches in order, each whole or not at all; returns once all of them are durable.
    ///
    /// After an error nothing is known of the batches: the caller stops and starts again from what is stored.
    fn commit(
        &self,
        batches: Vec<Batch>,
        fence: Option<Fence>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The entries of this moment: what is committed later does not show in it.
    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>, StoreError>>;
}

/// The entries of one moment, which the store goes on from. It holds room on the disk until it is dropped.
pub trait Snapshot: Send + Sync + 'static {
    /// As [`Store::load`].
    fn load(&self, after: Option<Vec<u8>>, limit: usize)
    -> BoxFuture<'_, Result<Page, StoreError>>;
}

/// Everything a store holds, in the order of the keys.
pub async fn load_all(store: &dyn Store) -> Result<Vec<Entry>, StoreError> {
    let mut page = store.load(None, PAGE_ENTRIES).await?;
    let mut entries = page.entries;
    while let Some(after) = page.next.take() {
        page = store.load(Some(after), PAGE_ENTRIES).await?;
        entries.append(&mut page.entries);
    }
    Ok(entries)
}

/// What the event loop writes to: records become batches of a store.
#[derive(Clone)]
pub struct StoreJournal {
    store: Arc<dyn Store>,
    fence: Option<Fence>,
}

impl StoreJournal {
    /// Writes to `store`, unfenced.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, fence: None }
    }

    /// Writes as the holder of this epoch.
    #[must_use]
    pub fn with_fence(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }
}

impl<R: Durable + Send + 'static> Journal<R> for StoreJournal {
    async fn commit(&mut self, records: Vec<R>) -> Result<(), StoreError> {
        let batches = Batch::pack(&records);
        if batches.is_empty() {
            return Ok(());
        }
        self.store.commit(batches, self.fence).await
    }
}

/// Why a store could not be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the file open.
    #[error("store {} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Its directory cannot be made.
    #[error("it has no place")]
    Directory(#[from] DirectoryError),
    /// The file is not one of ours, damaged, or may not be read.
    #[error("store {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system or the store engine said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written by another version of Mete.
    #[error("store {} has format {found}, this version reads {oldest} to {newest}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u64,
        /// The oldest format this version reads.
        oldest: u64,
        /// The newest format this version reads, which is the one it writes.
        newest: u64,
    },
    /// The disk has no room left.
    #[error("no space left on the disk of store {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// A write failed; what of it is stored is unknown.
    #[error("store {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system or the store engine said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody with a later epoch writes now.
    #[error("epoch {} may not write, epoch {} has written", held.0, stored.0)]
    Fenced {
        /// The epoch of this writer.
        held: Fence,
        /// The epoch in the store.
        stored: Fence,
    },
    /// The store's thread has ended after an earlier error.
    #[error("store {} is closed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wide(usize, usize);

    impl Durable for Wide {
        fn changes(&self) -> Vec<Change> {
            (0..self.0)
                .map(|n| Change {
                    key: vec![n as u8],
                    value: Some(vec![0; self.1]),
                })
                .collect()
        }
    }

    fn sizes(records: &[Wide]) -> Vec<usize> {
        Batch::pack(records)
            .iter()
            .map(|batch| batch.changes().len())
            .collect()
    }

    #[test]
    fn batches_end_at_record_borders_within_the_bounds() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[Wide(0, 0)]), [0; 0]);
        assert_eq!(sizes(&[Wide(60, 1), Wide(40, 1), Wide(1, 1)]), [100, 1]);
        assert_eq!(sizes(&[Wide(60, 1), Wide(41, 1)]), [60, 41]);
        assert_eq!(sizes(&[Wide(1, 600_000), Wide(1, 600_000)]), [1, 1]);
        assert_eq!(sizes(&[Wide(1, 1), Wide(150, 1), Wide(1, 1)]), [1, 150, 1]);
    }
}
