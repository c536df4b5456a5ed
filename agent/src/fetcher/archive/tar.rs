//! Tar archives, in the forms of POSIX and GNU.
//!
//! The headers that carry long names are read here, within bounds, and not by the tar crate: it takes them into memory
//! whatever size they say. Owners are those of the task, not those of the archive. Sparse files, and files whose size
//! only an extension tells, are refused by name: they are rare, and half understood they would be wrong.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, futimens};
use tar::{Archive, Entry, PaxExtensions};

use super::super::beneath::{Beneath, EntryError, MAX_PATH_BYTES, relative};
use super::{Meter, UnpackError, write};

/// Longest header with extensions, in bytes: two longest paths, and as much again for what is passed over.
const MAX_EXTENSION_BYTES: u64 = 4 * MAX_PATH_BYTES as u64;

/// What extension headers say of the entry that follows.
#[derive(Debug, Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

pub(super) fn unpack(
    from: impl Read,
    into: &Beneath,
    meter: &Meter<'_>,
) -> Result<(), UnpackError> {
    let mut archive = Archive::new(meter.watch(from));
    let mut ahead = Ahead::default();
    // Set last: a directory that may not be written in still gets its files.
    let mut directories: Vec<(PathBuf, u32)> = Vec::new();
    let entries = archive.entries().map_err(|error| meter.explain(error))?;
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|error| meter.explain(error))?;
        meter.entry()?;
        if ahead.read(&mut entry, meter)? {
            continue;
        }
        let ahead = std::mem::take(&mut ahead);
        let bytes = match &ahead.path {
            Some(path) => path.clone(),
            None => entry.path_bytes().into_owned(),
        };
        let shown = PathBuf::from(String::from_utf8_lossy(&bytes).into_owned());
        let made = make(&mut entry, &bytes, &ahead, into, meter);
        if let Some(directory) = made.map_err(|error| named(error, &shown))? {
            directories.push(directory);
        }
    }
    for (path, mode) in directories.iter().rev() {
        let set = into.set_directory_mode(path, *mode);
        set.map_err(|why| UnpackError::entry(path, why))?;
    }
    // To the end, where compressed files have their checksum.
    let mut rest = archive.into_inner();
    let read = std::io::copy(&mut rest, &mut std::io::sink());
    read.map(drop).map_err(|error| meter.explain(error))
}

/// Errors of an entry carry the name that the archive gives it.
fn named(error: Refusal, name: &Path) -> UnpackError {
    match error {
        Refusal::Entry(why) => UnpackError::entry(name, why),
        Refusal::Archive(error) => error.called(name),
    }
}

enum Refusal {
    Entry(EntryError),
    Archive(UnpackError),
}

impl From<EntryError> for Refusal {
    fn from(why: EntryError) -> Self {
        Self::Entry(why)
    }
}

/// Makes an entry; a directory is returned with the mode it is to have.
fn make(
    entry: &mut Entry<'_, impl Read>,
    path: &[u8],
    ahead: &Ahead,
    into: &Beneath,
    meter: &Meter<'_>,
) -> Result<Option<(PathBuf, u32)>, Refusal> {
    let is_directory_by_name = path.ends_with(b"/");
    let path = relative(path)?;
    let header = entry.header();
    let kind = header.entry_type();
    let damaged = |error| Refusal::Archive(UnpackError::Damaged(error));
    let mode = header.mode().map_err(damaged)?;
    let target = || -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        let said = ahead.link.clone();
        let bytes = said.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        std::ffi::OsString::from_vec(bytes.unwrap_or_default()).into()
    };
    if kind.is_gnu_sparse() || ahead.is_sparse {
        return Err(EntryError::Special("a sparse file, which is not carried").into());
    }
    if ahead
        .size
        .is_some_and(|size| header.entry_size().ok() != Some(size))
    {
        return Err(EntryError::Special("a file of 8 GiB or more, which is not carried").into());
    }
    // Old archives mark directories by their names alone.
    if kind.is_dir() || (kind.is_file() && is_directory_by_name) {
        into.directory(&path)?;
        return Ok((!path.as_os_str().is_empty()).then_some((path, mode)));
    }
    if kind.is_file() || kind.is_contiguous() {
        let modified = header.mtime().ok();
        let file = write(entry, &path, mode, into, meter).map_err(Refusal::Archive)?;
        if let Some(seconds) = modified.and_then(|seconds| i64::try_from(seconds).ok()) {
            let time = Timespec {
                tv_sec: seconds,
                tv_nsec: 0,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            // A time that the file system cannot keep is no reason to fail.
            let _ = futimens(&file, &times);
        }
    } else if kind.is_symlink() {
        into.symlink(&path, &target())?;
    } else if kind.is_hard_link() {
        into.hard_link(&path, &target())?;
    } else if kind.is_character_special() || kind.is_block_special() {
        return Err(EntryError::Special("a device").into());
    } else if kind.is_fifo() {
        return Err(EntryError::Special("a pipe").into());
    } else {
        return Err(EntryError::Special("of a kind that nobody knows").into());
    }
    Ok(None)
}

impl Ahead {
    /// Takes in a header that is about the next entry; `false` when it is an entry itself.
    fn read(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        meter: &Meter<'_>,
    ) -> Result<bool, UnpackError> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            self.path = Some(text(entry, meter)?);
        } else if kind.is_gnu_longlink() {
            self.link = Some(text(entry, meter)?);
        } else if kind.is_pax_local_extensions() {
            let bytes = bounded(entry, meter)?;
            for extension in PaxExtensions::new(&bytes) {
                let extension = extension.map_err(UnpackError::Damaged)?;
                let value = extension.value_bytes();
                match extension.key_bytes() {
                    b"path" => self.path = Some(value.to_vec()),
                    b"linkpath" => self.link = Some(value.to_vec()),
                    b"size" => self.size = extension.value().ok().and_then(|s| s.parse().ok()),
                    key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                    _ => {}
                }
            }
        } else {
            // What is about all entries, such as the commit that git writes, changes none of them.
            return Ok(kind.is_pax_global_extensions());
        }
        Ok(true)
    }
}

/// A long name, which ends with a zero byte.
fn text(entry: &mut Entry<'_, impl Read>, meter: &Meter<'_>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = bounded(entry, meter)?;
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    Ok(bytes)
}

fn bounded(entry: &mut Entry<'_, impl Read>, meter: &Meter<'_>) -> Result<Vec<u8>, UnpackError> {
    if entry.size() > MAX_EXTENSION_BYTES {
        let name = Path::new("the header of an entry");
        return Err(UnpackError::entry(name, EntryError::LongPath));
    }
    let mut bytes = Vec::new();
    let read = entry.take(MAX_EXTENSION_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| meter.explain(error))?;
    Ok(bytes)
}
