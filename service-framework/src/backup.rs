//! All that the service framework knows, in one file: taken while it runs or after it has ended, and put back.
//!
//! ```text
//! running:  store ──snapshot──▶ pages ──stream──▶ FILE.part ──read and found whole──▶ FILE
//! ended:    store ────────────▶ pages ──────────▶ FILE.part ──read and found whole──▶ FILE
//! back:     FILE ──read, understood──▶ services.redb.restoring ──renamed──▶ services.redb
//! ```
//! Invariants: under its own name a file is whole, a backup as well as a store; a store is replaced only by name, and then
//! kept aside. A restored framework has the id it had, so that the master gives it its tasks back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mete_daemon::clock;
use mete_daemon::store::backup::{BackupError, Header, Reader, TooLarge, Writer};
use mete_daemon::store::redb::{self, Redb};
use mete_daemon::store::{self, Batch, Entry, MAX_OPERATIONS, Store, StoreError};
use mete_model::machine::Change;
use mete_service_framework_core::orchestrator::Life;
use mete_service_framework_core::record::{BadRecord, migrate};
use mete_service_framework_core::spec::time;
use mete_service_framework_core::{Orchestrator, Settings};

use crate::config::STORE_FILE;

/// What the header says it is a backup of.
const OF: &str = "services";
/// Under this name in the header: the id of the framework.
const FRAMEWORK_ID: &str = "frameworkId";

/// Why there is no backup, or why it is not put back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{} cannot be {done}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        done: &'static str,
        /// What the file system said.
        source: io::Error,
    },
    /// There is nothing of which a backup could be made.
    #[error("there is no store {}", .0.display())]
    NoStore(PathBuf),
    /// The store is locked, unreadable, full.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// What it holds is more than a backup can hold.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The file is no whole backup.
    #[error("backup {}", path.display())]
    Backup {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: BackupError,
    },
    /// It is a backup of something else.
    #[error("backup {} is of {of:?}, not of {OF:?}", path.display())]
    Other {
        /// Which.
        path: PathBuf,
        /// Of what.
        of: String,
    },
    /// Something in it makes no sense, or a later program wrote it.
    #[error("{} cannot be understood", path.display())]
    Record {
        /// The backup or the store.
        path: PathBuf,
        /// What of it.
        source: BadRecord,
    },
    /// Something is there already.
    #[error("{} is not empty: it holds {found:?}; name --replace to put a store in its place", path.display())]
    NotEmpty {
        /// The state directory.
        path: PathBuf,
        /// Something in it.
        found: String,
    },
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it says of itself.
    pub header: Header,
    /// How many entries of the store.
    pub entries: usize,
}

impl Contents {
    /// The id of the framework, which it goes on with when it is put back; `None` when it had none yet.
    pub fn framework(&self) -> Option<&str> {
        self.header.about.get(FRAMEWORK_ID).map(String::as_str)
    }
}

/// What a restore does with a store that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leaves it and everything else, and says so.
    Refuse,
    /// Puts it aside as `services.redb.replaced`, unless a daemon has it open.
    Replace,
}

/// What the backup of this moment says of itself.
pub(crate) fn header(framework: Option<String>) -> Header {
    let framework = framework.map(|id| (FRAMEWORK_ID.to_owned(), id));
    Header {
        of: OF.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        time: time::text(clock::now()),
        about: framework.into_iter().collect(),
    }
}

/// A backup on its way into a file. What does not come to its [`finish`](Self::finish) leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Incoming {
    /// Begins a file beside the one it becomes, which only its owner may read: apps have passwords in variables.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(path: &Path) -> Result<Self, Error> {
        let part = beside(path, ".part");
        let made = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&part);
        let file = made.map_err(|source| failed(&part, "written", source))?;
        let path = path.to_owned();
        Ok(Self { path, part, file })
    }

    /// Adds what follows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| failed(&self.part, "written", source))
    }

    /// Reads what has come, and gives the file its name when it is whole. A file of this name is replaced.
    ///
    /// # Errors
    /// When it is no whole backup that this program understands.
    pub fn finish(self) -> Result<Contents, Error> {
        let written = self.file.sync_all();
        written.map_err(|source| failed(&self.part, "written", source))?;
        let (header, entries) = read(&self.part)?;
        let renamed = fs::rename(&self.part, &self.path).and_then(|()| sync_directory(&self.path));
        renamed.map_err(|source| failed(&self.path, "written", source))?;
        let entries = entries.len();
        Ok(Contents { header, entries })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Once renamed it is not there any more.
        drop(fs::remove_file(&self.part));
    }
}

/// Makes a backup of a state directory that no daemon works with.
///
/// # Errors
/// When there is no store, a daemon has it, or it cannot be understood.
pub async fn save(state_dir: &Path, to: &Path) -> Result<Contents, Error> {
    let path = state_dir.join(STORE_FILE);
    if !path.exists() {
        return Err(Error::NoStore(path));
    }
    let store = redb::open(&path).await?;
    let entries = store::load_all(&store).await?;
    let framework = understood(&path, &entries)?;
    let (mut writer, first) = Writer::begin(&header(framework));
    let mut incoming = Incoming::begin(to)?;
    incoming.piece(&first)?;
    for some in entries.chunks(store::PAGE_ENTRIES) {
        incoming.piece(&writer.entries(some)?)?;
    }
    incoming.piece(&writer.end())?;
    incoming.finish()
}

/// Puts a backup into a state directory, which is made when it is not there.
///
/// # Errors
/// When the file is no whole backup that this program understands, or the directory is not free for it. Nothing has
/// changed then.
pub async fn restore(from: &Path, state_dir: &Path, existing: Existing) -> Result<Contents, Error> {
    let (header, entries) = read(from)?;
    let count = entries.len();
    let made = fs::create_dir_all(state_dir);
    made.map_err(|source| failed(state_dir, "made", source))?;
    let path = state_dir.join(STORE_FILE);
    let aside = beside(&path, ".restoring");
    let replaced = match existing {
        Existing::Refuse => is_empty(state_dir, &aside).map(|()| None)?,
        Existing::Replace => held(&path).await?,
    };
    remove(&aside)?;
    let written = write(&aside, entries).await;
    let placed = written.and_then(|()| place(&aside, &path, existing));
    if placed.is_err() {
        drop(fs::remove_file(&aside));
    }
    // Until here no daemon can have begun to work with the one that was there.
    drop(replaced);
    placed?;
    let entries = count;
    Ok(Contents { header, entries })
}

/// A whole backup of a service framework that this program understands.
fn read(path: &Path) -> Result<(Header, Vec<Entry>), Error> {
    let file = File::open(path).map_err(|source| failed(path, "read", source))?;
    let broken = |source| Error::Backup {
        path: path.to_owned(),
        source,
    };
    let (mut reader, header) = Reader::begin(BufReader::new(file)).map_err(broken)?;
    if header.of != OF {
        let (path, of) = (path.to_owned(), header.of);
        return Err(Error::Other { path, of });
    }
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry().map_err(broken)? {
        entries.push(entry);
    }
    understood(path, &entries)?;
    Ok((header, entries))
}

/// Brings entries back to life for a moment; answers with the id of the framework.
fn understood(path: &Path, entries: &[Entry]) -> Result<Option<String>, Error> {
    let life = Life {
        seed: [0; 32],
        epoch: String::new(),
    };
    let migrated = migrate(entries.to_vec());
    let machine = migrated.and_then(|migrated| {
        Orchestrator::recover(Settings::default(), &life, clock::now(), migrated.entries)
    });
    let machine = machine.map_err(|source| Error::Record {
        path: path.to_owned(),
        source,
    })?;
    Ok(machine.framework().map(ToString::to_string))
}

/// A directory with nothing in it but what an earlier restore has left.
fn is_empty(state_dir: &Path, aside: &Path) -> Result<(), Error> {
    let unreadable = |source| failed(state_dir, "read", source);
    for found in fs::read_dir(state_dir).map_err(unreadable)? {
        let found = found.map_err(unreadable)?;
        if found.path() != aside {
            return Err(Error::NotEmpty {
                path: state_dir.to_owned(),
                found: found.file_name().to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// Holds the store that is to be replaced, so that no daemon works with it; one that is damaged cannot be held.
async fn held(path: &Path) -> Result<Option<Redb>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    match redb::open(path).await {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::Unreadable { .. } | StoreError::Format { .. }) => Ok(None),
        Err(
            other @ (StoreError::Locked { .. }
            | StoreError::Directory(_)
            | StoreError::Full { .. }
            | StoreError::Write { .. }
            | StoreError::Fenced { .. }
            | StoreError::Closed { .. }),
        ) => Err(other.into()),
    }
}

async fn write(path: &Path, entries: Vec<Entry>) -> Result<(), Error> {
    let store: Arc<dyn Store> = Arc::new(redb::open(path).await?);
    let mut batches = Vec::new();
    let mut changes = Vec::new();
    for (key, value) in entries {
        let value = Some(value);
        changes.push(Change { key, value });
        if changes.len() == MAX_OPERATIONS {
            batches.push(Batch::from(std::mem::take(&mut changes)));
        }
    }
    batches.push(Batch::from(changes));
    store.commit(batches, None).await?;
    Ok(())
}

/// Gives a finished store its name.
fn place(aside: &Path, path: &Path, existing: Existing) -> Result<(), Error> {
    let placed = match existing {
        // Fails when a daemon has begun there meanwhile.
        Existing::Refuse => fs::hard_link(aside, path).and_then(|()| fs::remove_file(aside)),
        Existing::Replace => {
            let kept = beside(path, ".replaced");
            if path.exists() {
                remove(&kept)?;
                let linked = fs::hard_link(path, &kept);
                linked.map_err(|source| failed(&kept, "written", source))?;
            }
            fs::rename(aside, path)
        }
    };
    let placed = placed.and_then(|()| sync_directory(path));
    placed.map_err(|source| failed(path, "written", source))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(path, "removed", error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_directory(of: &Path) -> io::Result<()> {
    match of.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn failed(path: &Path, done: &'static str, source: io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        done,
        source,
    }
}
