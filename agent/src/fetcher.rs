//! Brings what a task needs into its sandbox: files of the machine, of HTTP and of HTTPS servers; checked, unpacked,
//! kept for other tasks, as the task says.
//!
//! ```text
//! understood ─▶ fetched, some side by side ─▶ checked ─▶ put into the sandbox, one after the other
//!                     └─▶ cache ─▶ (a copy) ──────────────┘
//! ```
//! It is as if everything was fetched in the order in which the task names it: what comes later replaces what has its
//! name. Invariants: at most [`MAX_URIS`] per task and [`MAX_BYTES`] each; until it is complete and checked, a file lies
//! where no task reaches it; nothing is written outside of the sandbox, whatever names and archives say; when the
//! future is dropped, all of it ends soon.

mod archive; // unpacks: tar, zip, single packed files
mod beneath; // makes entries in a directory, never outside
mod cache; // what is kept for other tasks
mod digest; // the checksum, as bytes pass by
mod download; // HTTP and HTTPS
mod local; // files of this machine
mod part; // files that are being fetched
mod shown; // addresses, as anybody may read them
mod stop; // threads that end when nobody waits
mod wanted; // what a task says, understood

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use mete_agent_core::task_dir::User;
use mete_model::{BadChecksum, Checksum, FetchUri};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use self::archive::{Limits, UnpackError};
use self::beneath::{Beneath, EntryError};
use self::cache::{Cache, Key, Lease};
pub(crate) use self::download::AuthorityError;
use self::download::Downloads;
use self::part::{Part, Parts};
use self::shown::shown;
use self::stop::{Stop, on_thread};
use self::wanted::{Source, UseAs, Wanted};
use crate::sandbox;

/// Most things a task may fetch.
const MAX_URIS: usize = 100;
/// Most bytes of one of them: more does not belong into a sandbox but on a volume.
const MAX_BYTES: u64 = 8 << 30;
/// How many things of one task are fetched side by side: enough to hide one slow server, too few to be a burden to one.
const SIDE_BY_SIDE: usize = 4;
/// Bytes copied from the cache before one looks whether it is still wanted.
const PIECE_BYTES: u64 = 8 << 20;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Too many.
    #[error("{count} URIs, at most {MAX_URIS} are fetched for one task")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// One of them.
    #[error("{uri}: {why}")]
    One {
        /// Which, without what is secret in it.
        uri: String,
        /// Why, shared by all tasks that waited for it.
        why: Arc<Failure>,
    },
    /// The sandbox cannot be used.
    #[error("the sandbox cannot be used: {0}")]
    Sandbox(#[source] io::Error),
}

impl FetchError {
    /// Whether the disk has no room.
    pub(crate) fn is_disk_full(&self) -> bool {
        match self {
            Self::One { why, .. } => why.is_disk_full(),
            Self::Sandbox(error) => sandbox::is_full(error),
            Self::TooMany { .. } => false,
        }
    }
}

/// Why one thing could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It is of a kind that is not fetched.
    #[error("{0}")]
    NotCarried(&'static str),
    /// It has no name that could stand in the sandbox.
    #[error("{0:?} cannot be the name of a file in the sandbox")]
    BadName(String),
    /// Its checksum cannot be checked.
    #[error(transparent)]
    BadChecksum(BadChecksum),
    /// The server refuses, or does not answer.
    #[error("{0}")]
    Http(String),
    /// The user of the task may not read it.
    #[error("user {0} may not read it")]
    Denied(String),
    /// It cannot be read, or there is no room for it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is too large.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is not what was wanted.
    #[error("it has the checksum {found}, wanted was {wanted}")]
    Mismatch {
        /// What the task says.
        wanted: Checksum,
        /// What was fetched.
        found: Checksum,
    },
    /// It cannot be unpacked.
    #[error(transparent)]
    Unpack(UnpackError),
    /// It cannot be put into the sandbox.
    #[error("it cannot be put into the sandbox: {0}")]
    Place(#[from] EntryError),
    /// Nobody waits for it any more.
    #[error("it is no longer wanted")]
    Stopped,
    /// A thread of the agent broke.
    #[error("a part of the agent broke: {0}")]
    Broken(String),
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::File(errno.into())
    }
}

impl Failure {
    fn is_disk_full(&self) -> bool {
        match self {
            Self::File(error) | Self::Place(EntryError::Io(error)) => sandbox::is_full(error),
            Self::Unpack(error) => error.is_disk_full(),
            Self::NotCarried(_)
            | Self::BadName(_)
            | Self::BadChecksum(_)
            | Self::Http(_)
            | Self::Denied(_)
            | Self::TooLarge
            | Self::Mismatch { .. }
            | Self::Place(_)
            | Self::Stopped
            | Self::Broken(_) => false,
        }
    }
}

/// Why there is no fetcher.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetcherError {
    /// Its directories cannot be made.
    #[error("what tasks fetch has no place")]
    Folder(#[source] io::Error),
    /// The operator's authorities cannot be trusted.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Fetches. Clones share the cache.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    downloads: Downloads,
    parts: Parts,
    cache: Arc<Cache>,
    succeeded: Counter,
    failed: Counter,
}

/// What it has done so far, and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetcherNumbers {
    /// Tasks that got all they wanted fetched.
    pub(crate) succeeded: u64,
    /// Tasks for which something could not be fetched.
    pub(crate) failed: u64,
    /// Bytes kept.
    pub(crate) cache_bytes: u64,
    /// The most that is kept.
    pub(crate) cache_max_bytes: u64,
}

/// Something that was fetched, and is where no task reaches it.
enum Fetched {
    /// For this task alone.
    Own(Part),
    /// Kept for others too.
    Shared(Lease),
}

impl Fetcher {
    /// Makes its directories in `folder`, anew. Blocks.
    ///
    /// # Errors
    /// [`FetcherError`].
    pub(crate) fn open(
        folder: &Path,
        cache_bytes: u64,
        ca_file: Option<&Path>,
    ) -> Result<Self, FetcherError> {
        let parts = Parts::open(folder.join("parts")).map_err(FetcherError::Folder)?;
        let cache = Cache::open(folder.join("cache"), cache_bytes).map_err(FetcherError::Folder)?;
        Ok(Self {
            downloads: Downloads::new(ca_file)?,
            parts,
            cache: Arc::new(cache),
            succeeded: Counter::default(),
            failed: Counter::default(),
        })
    }

    /// Adds its metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "fetcher_task_fetches_succeeded",
            "Tasks that got all they wanted fetched",
            self.succeeded.clone(),
        );
        registry.register(
            "fetcher_task_fetches_failed",
            "Tasks for which something could not be fetched",
            self.failed.clone(),
        );
        self.cache.register(registry);
    }

    /// For those who count in the names of Mesos.
    pub(crate) fn numbers(&self) -> FetcherNumbers {
        let (cache_bytes, cache_max_bytes) = self.cache.bytes();
        FetcherNumbers {
            succeeded: self.succeeded.get(),
            failed: self.failed.get(),
            cache_bytes,
            cache_max_bytes,
        }
    }

    /// Brings everything into the sandbox; it belongs to `owner` then.
    ///
    /// # Errors
    /// The first that fails.
    pub(crate) async fn fetch(
        &self,
        uris: &[FetchUri],
        sandbox: &Path,
        owner: Option<&User>,
    ) -> Result<(), FetchError> {
        if uris.is_empty() {
            return Ok(());
        }
        let fetched = self.fetch_all(uris, sandbox, owner).await;
        match &fetched {
            Ok(()) => self.succeeded.inc(),
            Err(_) => self.failed.inc(),
        };
        if fetched.as_ref().is_err_and(FetchError::is_disk_full) {
            self.cache.shed().await;
        }
        fetched
    }

    async fn fetch_all(
        &self,
        uris: &[FetchUri],
        sandbox: &Path,
        owner: Option<&User>,
    ) -> Result<(), FetchError> {
        if uris.len() > MAX_URIS {
            return Err(FetchError::TooMany { count: uris.len() });
        }
        let mut all = Vec::with_capacity(uris.len());
        for uri in uris {
            all.push(Wanted::new(uri).map_err(|why| one(&uri.value, Arc::new(why)))?);
        }
        let beneath = Beneath::open(sandbox, owner).map_err(FetchError::Sandbox)?;
        let beneath = Arc::new(beneath);
        // Nobody waits for a place in the channel: a download must not stand still while something is unpacked.
        let (done, mut next) = mpsc::channel(MAX_URIS);
        let fetching = async move {
            let jobs = all.into_iter().map(|wanted| {
                let job = async move {
                    let fetched = self.bring(&wanted, owner).await;
                    let fetched = fetched.map_err(|why| one(&wanted.uri, why))?;
                    Ok((wanted, fetched))
                };
                job.boxed()
            });
            let mut fetched = futures::stream::iter(jobs).buffered(SIDE_BY_SIDE);
            while let Some(fetched) = fetched.next().await {
                if done.send(fetched?).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let placing = async {
            while let Some((wanted, fetched)) = next.recv().await {
                let uri = wanted.uri.clone();
                let beneath = Arc::clone(&beneath);
                on_thread(move |stop| place(&wanted, &fetched, &beneath, stop))
                    .await
                    .map_err(|why| one(&uri, Arc::new(why)))?;
            }
            Ok(())
        };
        tokio::try_join!(fetching, placing).map(drop)
    }

    async fn bring(&self, wanted: &Wanted, owner: Option<&User>) -> Result<Fetched, Arc<Failure>> {
        if !wanted.is_cached {
            let part = self.fetch_one(wanted, owner).await;
            return part.map(Fetched::Own).map_err(Arc::new);
        }
        let key = Key {
            user: owner.map(|user| user.uid),
            uri: wanted.uri.clone(),
        };
        let fetching = self.fetch_one(wanted, owner);
        self.cache.get(&key, fetching).await.map(Fetched::Shared)
    }

    async fn fetch_one(&self, wanted: &Wanted, owner: Option<&User>) -> Result<Part, Failure> {
        let checksum = wanted.checksum.clone();
        match &wanted.source {
            Source::Http(address) => self.downloads.get(address, checksum, &self.parts).await,
            Source::File(path) => {
                let (path, owner): (PathBuf, _) = (path.clone(), owner.cloned());
                let parts = self.parts.clone();
                on_thread(move |stop| local::copy(&path, checksum, owner.as_ref(), &parts, stop))
                    .await
            }
        }
    }
}

fn one(uri: &str, why: Arc<Failure>) -> FetchError {
    FetchError::One {
        uri: shown(uri),
        why,
    }
}

/// Puts what was fetched into the sandbox. An archive stays beside what comes out of it, unless it came from the cache
/// (so in Mesos). Blocks.
fn place(
    wanted: &Wanted,
    fetched: &Fetched,
    beneath: &Beneath,
    stop: &Stop,
) -> Result<(), Failure> {
    let mut file = match fetched {
        Fetched::Own(part) => File::open(part.path())?,
        Fetched::Shared(lease) => lease.open()?,
    };
    let name = &wanted.name;
    if let UseAs::Archive(kind) = wanted.use_as {
        let unpacked = file.try_clone()?;
        archive::unpack(kind, unpacked, name, beneath, Limits::USUAL, stop)
            .map_err(Failure::Unpack)?;
    }
    let mode = match wanted.use_as {
        UseAs::File | UseAs::Archive(_) => 0o644,
        UseAs::Program => 0o755,
    };
    match fetched {
        Fetched::Own(part) => {
            beneath.finish(&file, mode)?;
            match beneath.take(part.path(), name) {
                // Sandboxes may lie on a disk of their own.
                Err(EntryError::Io(error)) if error.kind() == io::ErrorKind::CrossesDevices => {
                    copy(&mut file, name, mode, beneath, stop)
                }
                taken => Ok(taken?),
            }
        }
        Fetched::Shared(_) if matches!(wanted.use_as, UseAs::Archive(_)) => Ok(()),
        Fetched::Shared(_) => copy(&mut file, name, mode, beneath, stop),
    }
}

/// A copy, and not a second name: the task may change what is its own. The kernel shares blocks where it can.
fn copy(
    from: &mut File,
    name: &Path,
    mode: u32,
    beneath: &Beneath,
    stop: &Stop,
) -> Result<(), Failure> {
    io::Seek::rewind(from)?;
    let mut to = beneath.file(name)?;
    loop {
        stop.check()?;
        let mut piece = io::Read::take(&mut *from, PIECE_BYTES);
        if io::copy(&mut piece, &mut to)? == 0 {
            break;
        }
    }
    Ok(beneath.finish(&to, mode)?)
}

#[cfg(test)]
mod tests;
