//! The tables of a store file: opened and checked, read, written in one transaction.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageError, Table, TableDefinition, TableError, WriteTransaction,
};
use tracing::info;

use super::super::{Batch, CHUNK_BYTES, Fence, PAGE_BYTES, Page, StoreError};
use crate::directory;
use mete_model::machine::Change;

/// The format this version writes.
const FORMAT: u64 = 1;
/// The oldest format this version reads; there is none before the first.
const OLDEST_FORMAT: u64 = 1;
/// Bytes at the head of each of redb's files that say that it is one.
const MAGIC_BYTES: usize = 9;
/// A file above this size is compacted when opened: redb's files grow in steps and are mostly free space after a while.
const COMPACT_ABOVE_BYTES: u64 = 64 * 1024 * 1024;

/// Pages of the file that are kept in memory, at most; redb's own bound of 1 GiB is none. The file is read at a start only, and
/// a commit writes few pages: what it needs beyond these is with the kernel.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const CHUNKS: TableDefinition<'_, (&[u8], u32), &[u8]> = TableDefinition::new("chunks");

/// First byte of an entry: the value follows.
const WHOLE: u8 = 0;
/// First byte of an entry: the number of chunks follows, four bytes, big end first.
const CHUNKED: u8 = 1;

/// An open database file.
pub(super) struct File {
    path: PathBuf,
    database: Database,
}

impl File {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        if let Some(place) = path.parent() {
            directory::make(place, directory::OPEN_TO_ALL)?;
        }
        let mut database =
            create(&path).map_err(|failure| read_error(&path, redb::Error::from(failure)))?;
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        if bytes > COMPACT_ABOVE_BYTES {
            let compacted = database
                .compact()
                .map_err(|failure| read_error(&path, redb::Error::from(failure)))?;
            info!(path = %path.display(), bytes, compacted, "store file compacted");
        }
        let file = Self { path, database };
        file.check_format()?;
        Ok(file)
    }

    /// Makes the tables of a new file; refuses a file of a format that this version cannot read.
    fn check_format(&self) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        {
            let mut meta = transaction
                .open_table(META)
                .map_err(|failure| self.unreadable(failure))?;
            let found = meta
                .get("format")
                .map_err(|failure| self.unreadable(failure))?
                .map(|format| format.value());
            match found {
                Some(FORMAT) => return Ok(()),
                Some(found) => {
                    let path = self.path.clone();
                    return Err(StoreError::Format {
                        path,
                        found,
                        oldest: OLDEST_FORMAT,
                        newest: FORMAT,
                    });
                }
                None => drop(
                    meta.insert("format", FORMAT)
                        .map_err(|failure| self.write_error(failure))?,
                ),
            }
            transaction
                .open_table(ENTRIES)
                .map_err(|failure| self.table_error(failure))?;
            transaction
                .open_table(CHUNKS)
                .map_err(|failure| self.table_error(failure))?;
        }
        transaction
            .commit()
            .map_err(|failure| self.write_error(failure))
    }

    pub(super) fn load(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.page(&self.reading()?, after, limit)
    }

    /// The entries as they are now. The file stays open as long as this lives.
    pub(super) fn moment(self: &Arc<Self>) -> Result<Moment, StoreError> {
        Ok(Moment {
            transaction: self.reading()?,
            file: Arc::clone(self),
        })
    }

    fn reading(&self) -> Result<ReadTransaction, StoreError> {
        let begun = self.database.begin_read();
        begun.map_err(|failure| self.unreadable(failure))
    }

    fn page(
        &self,
        transaction: &ReadTransaction,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let entries = transaction
            .open_table(ENTRIES)
            .map_err(|failure| self.unreadable(failure))?;
        let chunks = transaction
            .open_table(CHUNKS)
            .map_err(|failure| self.unreadable(failure))?;
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = entries
            .range::<&[u8]>((from, Bound::Unbounded))
            .map_err(|failure| self.unreadable(failure))?;
        let (mut page, mut bytes) = (Page::default(), 0);
        for entry in range {
            if page.entries.len() == limit || bytes >= PAGE_BYTES {
                page.next = page.entries.last().map(|(key, _)| key.clone());
                break;
            }
            let (key, value) = entry.map_err(|failure| self.unreadable(failure))?;
            let value = self.join(&chunks, key.value(), value.value())?;
            bytes += key.value().len() + value.len();
            page.entries.push((key.value().to_vec(), value));
        }
        Ok(page)
    }

    fn join(
        &self,
        chunks: &impl ReadableTable<(&'static [u8], u32), &'static [u8]>,
        key: &[u8],
        stored: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let count = match Form::of(stored) {
            Some(Form::Whole(value)) => return Ok(value.to_vec()),
            Some(Form::Chunked(count)) => count,
            None => return Err(self.unreadable(Damaged(key.to_vec()))),
        };
        let mut value = Vec::new();
        for number in 0..count {
            let chunk = chunks
                .get((key, number))
                .map_err(|failure| self.unreadable(failure))?;
            value.extend_from_slice(
                chunk
                    .ok_or_else(|| self.unreadable(Damaged(key.to_vec())))?
                    .value(),
            );
        }
        Ok(value)
    }

    /// Stores all commits in one transaction; returns those that were refused for their epoch, by their number.
    pub(super) fn write(
        &self,
        commits: &mut dyn Iterator<Item = (Vec<Batch>, Option<Fence>)>,
    ) -> Result<BTreeMap<usize, StoreError>, StoreError> {
        let mut refused = BTreeMap::new();
        let transaction = self.begin()?;
        {
            let mut meta = transaction
                .open_table(META)
                .map_err(|failure| self.table_error(failure))?;
            let mut entries = transaction
                .open_table(ENTRIES)
                .map_err(|failure| self.table_error(failure))?;
            let mut chunks = transaction
                .open_table(CHUNKS)
                .map_err(|failure| self.table_error(failure))?;
            for (index, (batches, fence)) in commits.enumerate() {
                if let Some(held) = fence
                    && let Some(stored) =
                        raise(&mut meta, held).map_err(|failure| self.write_error(failure))?
                {
                    refused.insert(index, StoreError::Fenced { held, stored });
                    continue;
                }
                for change in batches.into_iter().flat_map(|batch| batch.0) {
                    apply(&mut entries, &mut chunks, &change)
                        .map_err(|failure| self.write_error(failure))?;
                }
            }
        }
        transaction
            .commit()
            .map_err(|failure| self.write_error(failure))?;
        Ok(refused)
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self
            .database
            .begin_write()
            .map_err(|failure| self.write_error(failure))?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|failure| self.write_error(failure))?;
        Ok(transaction)
    }

    fn unreadable(&self, failure: impl Error + Send + Sync + 'static) -> StoreError {
        read_error(&self.path, failure)
    }

    fn table_error(&self, failure: TableError) -> StoreError {
        if matches!(failure, TableError::Storage(_)) {
            return self.write_error(failure);
        }
        self.unreadable(failure)
    }

    fn write_error(&self, failure: impl Into<redb::Error>) -> StoreError {
        let (path, failure) = (self.path.clone(), failure.into());
        if is_full(&failure) {
            return StoreError::Full { path };
        }
        StoreError::Write {
            path,
            source: Arc::new(failure),
        }
    }
}

/// Opens the file, or makes it. redb writes the word that it is one of its files last: where nothing stands in its place,
/// whoever made the file was killed, or ran out of disk, before anything could be kept in it, and it is made anew.
fn create(path: &Path) -> Result<Database, DatabaseError> {
    let make = || Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let created = make();
    let is_open = matches!(created, Ok(_) | Err(DatabaseError::DatabaseAlreadyOpen));
    if is_open || !is_unfinished(path).unwrap_or(false) || std::fs::remove_file(path).is_err() {
        return created;
    }
    info!(path = %path.display(), "store file was never finished and is made anew");
    make()
}

fn is_unfinished(path: &Path) -> io::Result<bool> {
    let mut head = [1; MAGIC_BYTES];
    std::fs::File::open(path)?.read_exact(&mut head)?;
    Ok(head == [0; MAGIC_BYTES])
}

/// The entries of one moment, read in one transaction.
pub(super) struct Moment {
    // Before the file, which it reads.
    transaction: ReadTransaction,
    file: Arc<File>,
}

impl Moment {
    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) fn page(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Page, StoreError> {
        self.file.page(&self.transaction, after, limit)
    }
}

fn read_error(path: &Path, failure: impl Error + Send + Sync + 'static) -> StoreError {
    let path = path.to_owned();
    let known: &(dyn Error + 'static) = &failure;
    match known.downcast_ref() {
        Some(redb::Error::DatabaseAlreadyOpen) => StoreError::Locked { path },
        Some(opened) if is_full(opened) => StoreError::Full { path },
        Some(_) | None => StoreError::Unreadable {
            path,
            source: Arc::new(failure),
        },
    }
}

fn is_full(failure: &redb::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let redb::Error::Io(failure) = failure else {
        return false;
    };
    matches!(failure.kind(), StorageFull | QuotaExceeded)
}

/// A value that this version did not write.
#[derive(Debug, thiserror::Error)]
#[error("the value of key {} is damaged", .0.escape_ascii())]
struct Damaged(Vec<u8>);

/// How a value lies in its entry.
enum Form<'a> {
    Whole(&'a [u8]),
    Chunked(u32),
}

impl<'a> Form<'a> {
    fn of(stored: &'a [u8]) -> Option<Self> {
        match stored.split_first()? {
            (&WHOLE, value) => Some(Self::Whole(value)),
            (&CHUNKED, count) => Some(Self::Chunked(u32::from_be_bytes(count.try_into().ok()?))),
            (_, _) => None,
        }
    }
}

/// Notes the epoch of a writer; answers with the stored one when that is later.
fn raise(
    meta: &mut Table<'_, &'static str, u64>,
    held: Fence,
) -> Result<Option<Fence>, StorageError> {
    let stored = meta.get("epoch")?.map(|epoch| Fence(epoch.value()));
    if stored.is_some_and(|stored| stored > held) {
        return Ok(stored);
    }
    if stored != Some(held) {
        meta.insert("epoch", held.0)?;
    }
    Ok(None)
}

fn apply(
    entries: &mut Table<'_, &'static [u8], &'static [u8]>,
    chunks: &mut Table<'_, (&'static [u8], u32), &'static [u8]>,
    change: &Change,
) -> Result<(), StorageError> {
    let key = change.key.as_slice();
    let old = match &change.value {
        None => chunk_count(entries.remove(key)?),
        Some(value) if value.len() <= CHUNK_BYTES => {
            let stored = [&[WHOLE], value.as_slice()].concat();
            chunk_count(entries.insert(key, stored.as_slice())?)
        }
        Some(value) => {
            let count = u32::try_from(value.len().div_ceil(CHUNK_BYTES))
                .map_err(|_| StorageError::ValueTooLarge(value.len()))?;
            let stored = [&[CHUNKED], count.to_be_bytes().as_slice()].concat();
            let old = chunk_count(entries.insert(key, stored.as_slice())?);
            for (number, piece) in (0..count).zip(value.chunks(CHUNK_BYTES)) {
                chunks.insert((key, number), piece)?;
            }
            // What the old value had beyond the new one; the rest is overwritten.
            remove_chunks(chunks, key, count, old)?;
            return Ok(());
        }
    };
    remove_chunks(chunks, key, 0, old)
}

fn chunk_count(old: Option<redb::AccessGuard<'_, &'static [u8]>>) -> u32 {
    match old.as_ref().and_then(|old| Form::of(old.value())) {
        Some(Form::Chunked(count)) => count,
        Some(Form::Whole(_)) | None => 0,
    }
}

fn remove_chunks(
    chunks: &mut Table<'_, (&'static [u8], u32), &'static [u8]>,
    key: &[u8],
    from: u32,
    to: u32,
) -> Result<(), StorageError> {
    for number in from..to {
        chunks.remove((key, number))?;
    }
    Ok(())
}
