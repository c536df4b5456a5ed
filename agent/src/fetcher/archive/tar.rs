//! Tar archives: their entries become files of the sandbox, with the task's owner and not those of the archive.

use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, futimens};

use super::super::beneath::{Beneath, EntryError, relative};
use super::{Meter, PIECE_BYTES, UnpackError, write};
use crate::tarball::{Archive, ArchiveError, Entry, Kind};

pub(super) fn unpack(
    from: impl Read,
    into: &Beneath,
    meter: &Meter<'_>,
) -> Result<(), UnpackError> {
    // Headers are small: without a buffer each would be a call to the decompressor.
    let watched = BufReader::with_capacity(PIECE_BYTES, meter.watch(from));
    let mut archive = Archive::new(watched);
    // Set last: a directory that may not be written in still gets its files.
    let mut directories: Vec<(PathBuf, u32)> = Vec::new();
    while let Some(entry) = archive.next().map_err(|error| refused(error, meter))? {
        meter.entry()?;
        let shown = &entry.path;
        if let Some(directory) =
            make(&entry, &mut archive, into, meter).map_err(|error| error.called(shown))?
        {
            directories.push(directory);
        }
    }
    for (path, mode) in directories.iter().rev() {
        let set = into.set_directory_mode(path, *mode);
        set.map_err(|why| UnpackError::entry(path, why))?;
    }
    // To the end, where compressed files have their checksum.
    let mut rest = archive.into_inner();
    let read = io::copy(&mut rest, &mut io::sink());
    read.map(drop).map_err(|error| meter.explain(error))
}

/// An archive that does not read.
fn refused(error: ArchiveError, meter: &Meter<'_>) -> UnpackError {
    match error {
        ArchiveError::Bad { entry, why } => {
            UnpackError::entry(Path::new(&entry), EntryError::Unreadable(why))
        }
        ArchiveError::Io(error) => meter.explain(error),
    }
}

/// Makes an entry; a directory is returned with the mode it is to have.
fn make(
    entry: &Entry,
    content: &mut impl Read,
    into: &Beneath,
    meter: &Meter<'_>,
) -> Result<Option<(PathBuf, u32)>, UnpackError> {
    let refused = |why| UnpackError::entry(&entry.path, why);
    let path = relative(entry.path.as_os_str().as_bytes()).map_err(refused)?;
    // Old archives mark directories by their names alone.
    let is_directory_by_name = entry.path.as_os_str().as_bytes().ends_with(b"/");
    match &entry.kind {
        Kind::Directory => directory(path, entry.mode, into).map_err(refused),
        Kind::File if is_directory_by_name => directory(path, entry.mode, into).map_err(refused),
        Kind::File => {
            let file = write(content, &path, entry.mode, into, meter)?;
            let (tv_sec, nanoseconds) = entry.modified;
            let time = Timespec {
                tv_sec,
                tv_nsec: nanoseconds.into(),
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            // A time that the file system cannot keep is no reason to fail.
            let _ = futimens(&file, &times);
            Ok(None)
        }
        Kind::Symlink(target) => into.symlink(&path, target).map(|()| None).map_err(refused),
        Kind::HardLink(target) => into
            .hard_link(&path, target)
            .map(|()| None)
            .map_err(refused),
        Kind::Device => Err(refused(EntryError::Special("a device"))),
        Kind::Fifo => Err(refused(EntryError::Special("a pipe"))),
    }
}

fn directory(
    path: PathBuf,
    mode: u32,
    into: &Beneath,
) -> Result<Option<(PathBuf, u32)>, EntryError> {
    into.directory(&path)?;
    Ok((!path.as_os_str().is_empty()).then_some((path, mode)))
}
