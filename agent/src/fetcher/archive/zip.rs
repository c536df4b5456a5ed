//! Zip archives: entries stored and deflated.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::FileType;
use zip::ZipArchive;
use zip::result::ZipError;

use super::super::beneath::{Beneath, EntryError, MAX_PATH_BYTES, relative};
use super::{Meter, UnpackError, write};

/// Most bytes of the directory at the end of an archive, all of which is in memory: some 300 000 entries with names of
/// usual length.
const MAX_DIRECTORY_BYTES: u64 = 32 << 20;
/// The mode of files from systems without modes.
const PLAIN: u32 = 0o644;

pub(super) fn unpack(file: File, into: &Beneath, meter: &Meter<'_>) -> Result<(), UnpackError> {
    let left = Rc::new(Cell::new(MAX_DIRECTORY_BYTES));
    let counted = Counted {
        file,
        left: Rc::clone(&left),
    };
    let opened = ZipArchive::new(BufReader::new(counted));
    let mut archive = match opened {
        Err(_) if left.get() == 0 => {
            let error = io::Error::other("its directory has 32 MiB or more");
            return Err(UnpackError::Damaged(error));
        }
        opened => opened.map_err(damaged)?,
    };
    left.set(u64::MAX);
    for index in 0..archive.len() {
        meter.entry()?;
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let bytes = entry.name_raw().to_vec();
        let shown = PathBuf::from(String::from_utf8_lossy(&bytes).into_owned());
        let refused = |why| UnpackError::entry(&shown, why);
        let path = relative(&bytes).map_err(refused)?;
        let mode = entry.unix_mode().unwrap_or(PLAIN);
        if bytes.ends_with(b"/") {
            into.directory(&path).map_err(refused)?;
            continue;
        }
        match FileType::from_raw_mode(mode) {
            // Without a kind it is a file: the mode alone was kept.
            FileType::RegularFile | FileType::Unknown => {
                let mode = if mode & 0o777 == 0 { PLAIN } else { mode };
                write(meter.watch(entry), &path, mode, into, meter)
                    .map_err(|error| error.called(&shown))?;
            }
            FileType::Symlink => {
                let mut target = Vec::new();
                let mut text = meter.watch(&mut entry).take(MAX_PATH_BYTES as u64);
                let read = text.read_to_end(&mut target);
                read.map_err(|error| meter.explain(error))?;
                into.symlink(&path, &as_path(target)).map_err(refused)?;
            }
            FileType::Directory => into.directory(&path).map_err(refused)?,
            FileType::Fifo => return Err(refused(EntryError::Special("a pipe"))),
            FileType::Socket => return Err(refused(EntryError::Special("a socket"))),
            FileType::CharacterDevice | FileType::BlockDevice => {
                return Err(refused(EntryError::Special("a device")));
            }
        }
    }
    Ok(())
}

fn as_path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(&bytes)).to_owned()
}

fn damaged(error: ZipError) -> UnpackError {
    UnpackError::Damaged(io::Error::other(error))
}

/// Ends when more is read than is left.
struct Counted {
    file: File,
    left: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let left = self.left.get().saturating_sub(count as u64);
        self.left.set(left);
        match left {
            0 => Err(io::Error::other(
                "the directory of the archive is too large",
            )),
            _ => Ok(count),
        }
    }
}

impl Seek for Counted {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}
