//! A store in one file, pure Rust: redb on a thread of its own.
//!
//! The thread takes all jobs that wait and makes one transaction of neighbouring commits, so that one `fsync` serves
//! them all. Tables: `meta` (format, epoch), `entries` (key → one byte of form and the value, or the number of its
//! chunks), `chunks` ((key, number) → piece of a value above [`CHUNK_BYTES`](super::CHUNK_BYTES)).
//! Invariants: a commit is answered after `fsync`; a value and its chunks change in the same transaction.

mod file; // the tables and what is done to them

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use self::file::{File, Moment};
use super::{Batch, Fence, Page, Snapshot, Store, StoreError};

/// Jobs that may wait for the thread: a loop has one at a time, so this is many loops.
const JOBS_CAPACITY: usize = 64;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Load {
        after: Option<Vec<u8>>,
        limit: usize,
        answer: Answer<Page>,
    },
    Commit(Commit),
    Snapshot(Answer<Moment>),
}

struct Commit {
    batches: Vec<Batch>,
    fence: Option<Fence>,
    answer: Answer<()>,
}

/// An open store file. Dropping it waits for the thread to close the file, so that it can be opened again.
#[derive(Debug)]
pub struct Redb {
    path: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the store at `path`, or makes it, with the directories above it.
///
/// # Errors
/// [`StoreError::Locked`] when another process has it, [`StoreError::Format`] when another version wrote it,
/// [`StoreError::Unreadable`] when it is no store or damaged.
pub async fn open(path: impl AsRef<Path>) -> Result<Redb, StoreError> {
    let path = path.as_ref().to_owned();
    let (jobs, waiting) = mpsc::channel(JOBS_CAPACITY);
    let (opened, open) = oneshot::channel();
    let of_thread = path.clone();
    let thread = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || match File::open(of_thread) {
            Ok(file) => {
                drop(opened.send(Ok(())));
                work(&Arc::new(file), waiting);
            }
            Err(failure) => drop(opened.send(Err(failure))),
        })
        .map_err(|source| StoreError::Unreadable {
            path: path.clone(),
            source: Arc::new(source),
        })?;
    open.await
        .unwrap_or_else(|_| Err(StoreError::Closed { path: path.clone() }))?;
    Ok(Redb {
        path,
        jobs: Some(jobs),
        thread: Some(thread),
    })
}

impl Redb {
    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, StoreError> {
        let closed = || StoreError::Closed {
            path: self.path.clone(),
        };
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        let (answer, result) = oneshot::channel();
        jobs.send(job(answer)).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }
}

impl Store for Redb {
    fn load(
        &self,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(self.ask(move |answer| Job::Load {
            after,
            limit,
            answer,
        }))
    }

    fn commit(
        &self,
        batches: Vec<Batch>,
        fence: Option<Fence>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |answer| {
            Job::Commit(Commit {
                batches,
                fence,
                answer,
            })
        }))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Box<dyn Snapshot>, StoreError>> {
        Box::pin(async {
            let moment = self.ask(Job::Snapshot).await?;
            Ok(Box::new(Arc::new(moment)) as Box<dyn Snapshot>)
        })
    }
}

/// Read on threads of the runtime's, so that the store's own goes on storing.
impl Snapshot for Arc<Moment> {
    fn load(
        &self,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let moment = Self::clone(self);
        let closed = StoreError::Closed {
            path: moment.path().to_owned(),
        };
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || moment.page(after, limit));
            read.await.unwrap_or(Err(closed))
        })
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!(path = %self.path.display(), "store thread panicked");
        }
    }
}

/// The thread: takes what waits, until nobody can send any more.
fn work(file: &Arc<File>, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = Vec::with_capacity(JOBS_CAPACITY);
    while jobs.blocking_recv_many(&mut waiting, JOBS_CAPACITY) > 0 {
        let mut group = Vec::new();
        for job in waiting.drain(..) {
            match job {
                Job::Commit(commit) => group.push(commit),
                Job::Load {
                    after,
                    limit,
                    answer,
                } => {
                    commit_group(file, std::mem::take(&mut group));
                    drop(answer.send(file.load(after, limit)));
                }
                Job::Snapshot(answer) => {
                    commit_group(file, std::mem::take(&mut group));
                    drop(answer.send(file.moment()));
                }
            }
        }
        commit_group(file, group);
    }
}

/// One transaction for all; a writer with an old epoch is refused alone.
fn commit_group(file: &File, mut group: Vec<Commit>) {
    if group.is_empty() {
        return;
    }
    let written = file.write(
        &mut group
            .iter_mut()
            .map(|commit| (std::mem::take(&mut commit.batches), commit.fence)),
    );
    for (index, commit) in group.into_iter().enumerate() {
        let result = match &written {
            Ok(refused) => refused
                .get(&index)
                .map_or(Ok(()), |refusal| Err(refusal.clone())),
            Err(failure) => Err(failure.clone()),
        };
        drop(commit.answer.send(result));
    }
}
