//! Unpacks what has been fetched, piece by piece: neither the archive nor a file of it is ever in memory as a whole.
//!
//! Invariants: at most [`MAX_UNPACKED_BYTES`] and [`MAX_ENTRIES`] come out of one archive, whatever it says of itself;
//! decompressors have bounded memory; entries are made through [`Beneath`] only; what is neither file, directory nor
//! link is refused by name.

mod tar;
mod zip;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::beneath::{Beneath, EntryError};
use super::stop::Stop;
use crate::sandbox;

/// Most bytes that come out of one archive: twice what may be fetched, for what is packed well. A bomb ends here.
const MAX_UNPACKED_BYTES: u64 = 16 << 30;
/// Most entries of one archive: the largest source trees have some 100 000 files.
const MAX_ENTRIES: u64 = 500_000;
/// Most memory for unpacking `.xz`, in bytes: `xz -9` asks for 65 MiB. The decompressor of `.zst` has 128 MiB by itself.
const MAX_XZ_MEMORY_BYTES: u64 = 128 << 20;
/// Bytes copied at once.
const PIECE_BYTES: usize = 64 << 10;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.bz2`
    Bzip2,
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
}

/// What kind of archive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Many files, packed as one.
    Tar(Packing),
    /// Many files, each packed by itself.
    Zip,
    /// One packed file.
    Single(Packing),
}

/// By their endings, longer ones first: Mesos' list, and Zstandard.
const KINDS: [(&str, Kind); 14] = [
    (".tar", Kind::Tar(Packing::None)),
    (".tgz", Kind::Tar(Packing::Gzip)),
    (".tar.gz", Kind::Tar(Packing::Gzip)),
    (".tbz2", Kind::Tar(Packing::Bzip2)),
    (".tar.bz2", Kind::Tar(Packing::Bzip2)),
    (".txz", Kind::Tar(Packing::Xz)),
    (".tar.xz", Kind::Tar(Packing::Xz)),
    (".tzst", Kind::Tar(Packing::Zstd)),
    (".tar.zst", Kind::Tar(Packing::Zstd)),
    (".zip", Kind::Zip),
    (".gz", Kind::Single(Packing::Gzip)),
    (".bz2", Kind::Single(Packing::Bzip2)),
    (".xz", Kind::Single(Packing::Xz)),
    (".zst", Kind::Single(Packing::Zstd)),
];

impl Kind {
    /// By the ending of a name; `None` when it is no archive.
    pub(super) fn of(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let mut kinds = KINDS.iter();
        let found = kinds.find(|(ending, _)| lower.ends_with(ending));
        found.map(|(_, kind)| *kind)
    }
}

/// Why something is not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// One of its entries is not made.
    #[error("{name:?} cannot be unpacked: {why}")]
    Entry {
        /// Its path in the archive.
        name: PathBuf,
        /// Why not.
        #[source]
        why: EntryError,
    },
    /// It cannot be read as what its name says.
    #[error("it cannot be unpacked: {0}")]
    Damaged(#[source] io::Error),
    /// It holds too much.
    #[error("{0} bytes or more come out of it")]
    TooLarge(u64),
    /// It has too many entries.
    #[error("it has more than {0} entries")]
    TooMany(u64),
    /// Nobody waits for it any more.
    #[error("it is no longer wanted")]
    Stopped,
}

impl UnpackError {
    fn entry(name: &Path, why: impl Into<EntryError>) -> Self {
        Self::Entry {
            name: name.to_owned(),
            why: why.into(),
        }
    }

    /// The same about an entry as the archive calls it.
    fn called(self, name: &Path) -> Self {
        match self {
            Self::Entry { why, .. } => Self::entry(name, why),
            Self::Damaged(_) | Self::TooLarge(_) | Self::TooMany(_) | Self::Stopped => self,
        }
    }

    /// Whether the disk has no room.
    pub(super) fn is_disk_full(&self) -> bool {
        let Self::Entry {
            why: EntryError::Io(error),
            ..
        } = self
        else {
            return false;
        };
        sandbox::is_full(error)
    }
}

/// Unpacks a file into a directory. `name` is the name of what comes out of a packed file that is no archive. Blocks.
///
/// # Errors
/// [`UnpackError`]; what was unpacked before it stays.
pub(super) fn unpack(
    kind: Kind,
    file: File,
    name: &Path,
    into: &Beneath,
    limits: Limits,
    stop: &Stop,
) -> Result<(), UnpackError> {
    let meter = Meter::new(limits, stop);
    match kind {
        Kind::Tar(packing) => tar::unpack(open(packing, file)?, into, &meter),
        Kind::Zip => zip::unpack(file, into, &meter),
        Kind::Single(packing) => {
            let from = meter.watch(open(packing, file)?);
            let to = Path::new(name.file_stem().unwrap_or_default());
            write(from, to, 0o644, into, &meter).map(drop)
        }
    }
}

fn open(packing: Packing, file: File) -> Result<Box<dyn Read>, UnpackError> {
    let file = BufReader::with_capacity(PIECE_BYTES, file);
    Ok(match packing {
        Packing::None => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
        Packing::Bzip2 => Box::new(MultiBzDecoder::new(file)),
        Packing::Xz => {
            let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY_BYTES, CONCATENATED)
                .map_err(|error| UnpackError::Damaged(error.into()))?;
            Box::new(XzDecoder::new_stream(file, stream))
        }
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(file);
            Box::new(decoder.map_err(UnpackError::Damaged)?)
        }
    })
}

/// How much may come out of an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    bytes: u64,
    entries: u64,
}

impl Limits {
    /// For all that tasks fetch.
    pub(super) const USUAL: Self = Self {
        bytes: MAX_UNPACKED_BYTES,
        entries: MAX_ENTRIES,
    };
}

/// Counts what comes out of an archive, and says when it is too much.
#[derive(Debug)]
struct Meter<'a> {
    stop: &'a Stop,
    limits: Limits,
    bytes_left: Cell<u64>,
    entries_left: Cell<u64>,
}

impl<'a> Meter<'a> {
    const fn new(limits: Limits, stop: &'a Stop) -> Self {
        Self {
            stop,
            limits,
            bytes_left: Cell::new(limits.bytes),
            entries_left: Cell::new(limits.entries),
        }
    }

    /// One more entry.
    fn entry(&self) -> Result<(), UnpackError> {
        let left = self.entries_left.get().checked_sub(1);
        let too_many = UnpackError::TooMany(self.limits.entries);
        self.entries_left.set(left.ok_or(too_many)?);
        match self.stop.is_asked() {
            true => Err(UnpackError::Stopped),
            false => Ok(()),
        }
    }

    /// What is read from here counts.
    const fn watch<R: Read>(&self, inner: R) -> Watched<'_, R> {
        Watched { inner, meter: self }
    }

    /// What an error in reading means: the meter's own, or damage.
    fn explain(&self, error: io::Error) -> UnpackError {
        if self.stop.is_asked() {
            return UnpackError::Stopped;
        }
        match self.bytes_left.get() {
            0 => UnpackError::TooLarge(self.limits.bytes),
            _ => UnpackError::Damaged(error),
        }
    }
}

struct Watched<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.meter.bytes_left.get();
        if self.meter.stop.is_asked() || left == 0 {
            return Err(io::Error::other("no more is wanted"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let most = buffer.len().min(most);
        let count = self
            .inner
            .read(buffer.get_mut(..most).unwrap_or_default())?;
        self.meter.bytes_left.set(left - count as u64);
        Ok(count)
    }
}

/// Writes one file of an archive.
fn write(
    mut from: impl Read,
    path: &Path,
    mode: u32,
    into: &Beneath,
    meter: &Meter<'_>,
) -> Result<File, UnpackError> {
    let refused = |why| UnpackError::entry(path, why);
    let mut file = into.file(path).map_err(refused)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(meter.explain(error)),
        };
        file.write_all(piece.get(..count).unwrap_or_default())
            .map_err(|error| UnpackError::entry(path, error))?;
    }
    into.finish(&file, mode).map_err(refused)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
