//! Fetched files that are kept for other tasks of the same user.
//!
//! ```text
//! nothing ─▶ filling ─▶ kept ─▶ (room is needed, nobody reads) gone
//!               │
//!               ├─▶ failed: all who waited fail with it; the next one tries anew
//!               └─▶ given up: one of those who wait takes over
//! ```
//! Invariants: what is kept has at most the bytes of the bound; what is being read stays; one thing is fetched by one
//! task at a time. A file that does not fit is shared by those who hold it, and goes with the last of them.
//!
//! The cache begins empty with each agent, as in Mesos. What lies on the disk after a crash may be half written, and to
//! know better one would have to sync each file: more than the cache saves, since agents start rarely.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Failure;
use super::part::{Part, make_empty};

/// Most files that are kept: small ones cost little disk, but each has a name in memory.
const MAX_FILES: usize = 10_000;

/// What is fetched for whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The user's id; `None`: the agent's own. A file of this machine is read with its rights, so nobody else gets it.
    pub(super) user: Option<u32>,
    /// As the task says it, the checksum included.
    pub(super) uri: String,
}

/// The cache of one agent.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<Key, Slot>,
    /// Of all that is kept.
    bytes: u64,
    /// Grows with each use: the order in which things were used last. Also the names of files.
    clock: u64,
}

#[derive(Debug)]
enum Slot {
    Filling(watch::Receiver<Option<Outcome>>),
    There(Kept),
}

/// How filling ended.
type Outcome = Result<(), Arc<Failure>>;

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    bytes: u64,
    last_used: u64,
    readers: usize,
    /// `false`: it goes with its last reader, and does not count.
    stays: bool,
}

#[derive(Debug, Default)]
struct Metrics {
    bytes: Gauge,
    files: Gauge,
    max_bytes: Gauge,
    hits: Counter,
    misses: Counter,
}

/// What the cache has for a key.
enum Found {
    There(Lease),
    Filling(watch::Receiver<Option<Outcome>>),
    Nothing(Filler),
}

impl Cache {
    /// Empties the directory. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(super) fn open(folder: PathBuf, max_bytes: u64) -> io::Result<Self> {
        make_empty(&folder)?;
        let metrics = Metrics::default();
        metrics
            .max_bytes
            .set(i64::try_from(max_bytes).unwrap_or(i64::MAX));
        Ok(Self {
            folder,
            max_bytes,
            state: Mutex::default(),
            metrics,
        })
    }

    /// Adds its metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        let metrics = &self.metrics;
        registry.register(
            "fetcher_cache_used_bytes",
            "Bytes of the fetched files that are kept",
            metrics.bytes.clone(),
        );
        registry.register(
            "fetcher_cache_max_bytes",
            "Most bytes of fetched files that are kept",
            metrics.max_bytes.clone(),
        );
        registry.register(
            "fetcher_cache_files",
            "Fetched files that are kept",
            metrics.files.clone(),
        );
        registry.register(
            "fetcher_cache_hits",
            "Cached things that were there when a task wanted them",
            metrics.hits.clone(),
        );
        registry.register(
            "fetcher_cache_misses",
            "Cached things that had to be fetched",
            metrics.misses.clone(),
        );
    }

    /// How many bytes are kept, and how many at most.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let kept = u64::try_from(self.metrics.bytes.get()).unwrap_or_default();
        (kept, self.max_bytes)
    }

    /// Gives what is kept, or keeps what `fetch` brings; it does not begin otherwise. Several at once wait for the first.
    ///
    /// # Errors
    /// That of `fetch`, whoever called it.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &Key,
        fetch: impl Future<Output = Result<Part, Failure>>,
    ) -> Result<Lease, Arc<Failure>> {
        loop {
            match self.find(key) {
                Found::There(lease) => return Ok(lease),
                Found::Nothing(filler) => {
                    let fetched = fetch.await;
                    return filler.settle(fetched).await;
                }
                Found::Filling(mut end) => {
                    // When the sender is gone without a word, that task was given up.
                    if let Ok(outcome) = end.wait_for(Option::is_some).await
                        && let Some(Err(failure)) = &*outcome
                    {
                        return Err(Arc::clone(failure));
                    }
                }
            }
        }
    }

    /// Lets go of all that nobody reads: the disk is full.
    pub(super) async fn shed(&self) {
        let gone = self.lock().make_room(0, 0);
        self.count();
        remove(gone).await;
    }

    fn find(self: &Arc<Self>, key: &Key) -> Found {
        let mut state = self.lock();
        let now = state.tick();
        match state.slots.get_mut(key) {
            Some(Slot::There(kept)) => {
                kept.readers += 1;
                kept.last_used = now;
                self.metrics.hits.inc();
                Found::There(Lease {
                    cache: Arc::clone(self),
                    key: key.clone(),
                    path: kept.path.clone(),
                })
            }
            Some(Slot::Filling(end)) => Found::Filling(end.clone()),
            None => {
                self.metrics.misses.inc();
                let (end, ended) = watch::channel(None);
                state.slots.insert(key.clone(), Slot::Filling(ended));
                Found::Nothing(Filler {
                    cache: Arc::clone(self),
                    key: key.clone(),
                    end,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at every point where a thread could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        let state = self.lock();
        let bytes = i64::try_from(state.bytes).unwrap_or(i64::MAX);
        self.metrics.bytes.set(bytes);
        let files = state.kept().count();
        self.metrics
            .files
            .set(i64::try_from(files).unwrap_or(i64::MAX));
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn kept(&self) -> impl Iterator<Item = (&Key, &Kept)> {
        self.slots.iter().filter_map(|(key, slot)| match slot {
            Slot::There(kept) if kept.stays => Some((key, kept)),
            Slot::There(_) | Slot::Filling(_) => None,
        })
    }

    /// Forgets what nobody reads, that which was used longest ago first, until no more than `max_bytes` and `max_files`
    /// are kept, or nothing is left to forget. The files are the caller's to remove.
    fn make_room(&mut self, max_bytes: u64, max_files: usize) -> Vec<PathBuf> {
        let mut files = self.kept().count();
        if self.bytes <= max_bytes && files <= max_files {
            return Vec::new();
        }
        let unread = self.kept().filter(|(_, kept)| kept.readers == 0);
        let mut unread: Vec<_> = unread
            .map(|(key, kept)| (kept.last_used, key.clone()))
            .collect();
        unread.sort_unstable();
        let mut gone = Vec::new();
        for (_, key) in unread {
            if self.bytes <= max_bytes && files <= max_files {
                break;
            }
            if let Some(Slot::There(kept)) = self.slots.remove(&key) {
                self.bytes -= kept.bytes;
                files -= 1;
                gone.push(kept.path);
            }
        }
        gone
    }

    /// Whether that many bytes more could be kept, when all that nobody reads goes.
    fn could_hold(&self, bytes: u64, max_bytes: u64) -> bool {
        let read = self.kept().filter(|(_, kept)| kept.readers > 0);
        let read: u64 = read.map(|(_, kept)| kept.bytes).sum();
        read.checked_add(bytes).is_some_and(|sum| sum <= max_bytes)
    }
}

/// The right to fetch one thing; dropped without an outcome, it passes to another who waits.
struct Filler {
    cache: Arc<Cache>,
    key: Key,
    end: watch::Sender<Option<Outcome>>,
}

impl Filler {
    async fn settle(self, fetched: Result<Part, Failure>) -> Result<Lease, Arc<Failure>> {
        let kept = match fetched {
            Ok(part) => self.keep(&part).map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match kept {
            Ok((lease, gone)) => {
                self.end.send_replace(Some(Ok(())));
                self.cache.count();
                remove(gone).await;
                Ok(lease)
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                self.end.send_replace(Some(Err(Arc::clone(&failure))));
                Err(failure)
            }
        }
    }

    fn keep(&self, part: &Part) -> io::Result<(Lease, Vec<PathBuf>)> {
        let mut state = self.cache.lock();
        let now = state.tick();
        let path = self.cache.folder.join(now.to_string());
        fs::rename(part.path(), &path)?;
        let max_bytes = self.cache.max_bytes;
        let stays = state.could_hold(part.bytes, max_bytes);
        let mut gone = Vec::new();
        if stays {
            gone = state.make_room(max_bytes - part.bytes, MAX_FILES - 1);
            state.bytes += part.bytes;
        }
        let kept = Kept {
            path: path.clone(),
            bytes: part.bytes,
            last_used: now,
            readers: 1,
            stays,
        };
        state.slots.insert(self.key.clone(), Slot::There(kept));
        let lease = Lease {
            cache: Arc::clone(&self.cache),
            key: self.key.clone(),
            path,
        };
        Ok((lease, gone))
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if let Some(Slot::Filling(_)) = state.slots.get(&self.key) {
            state.slots.remove(&self.key);
        }
    }
}

/// A file of the cache that stays as long as this is held.
#[derive(Debug)]
pub(super) struct Lease {
    cache: Arc<Cache>,
    key: Key,
    path: PathBuf,
}

impl Lease {
    /// Opens it for reading. Blocks for a moment.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Where it is.
    #[cfg(test)]
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        let Some(Slot::There(kept)) = state.slots.get_mut(&self.key) else {
            return;
        };
        kept.readers -= 1;
        if kept.readers == 0 && !kept.stays {
            state.slots.remove(&self.key);
            drop(state);
            // One that stays behind goes at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes files that are forgotten; one that stays behind goes at the next start.
async fn remove(gone: Vec<PathBuf>) {
    if gone.is_empty() {
        return;
    }
    let removing = spawn_blocking(move || {
        for path in gone {
            let _ = fs::remove_file(path);
        }
    });
    let _ = removing.await;
}

#[cfg(test)]
mod tests;
