//! Layers: archives of files that are stacked into the root of a container, unpacked once and shared.
//!
//! ```text
//! compressed bytes ─▶ gzip, zstd or none ─▶ bounds, digest ─▶ entries ─▶ tree on disk
//! ```
//! A layer comes from strangers: every bound of [`Limits`] holds before anything is written, no entry reaches out of its
//! tree (see [`tree`]), and what is unpacked counts only when its digest is the one the image says.
//!
//! Device nodes are left out: a container gets a `/dev` of its own with the devices it may use, so those that old base
//! images carry serve nobody, and refusing such images would help nobody either.

mod error; // why a layer cannot be unpacked
mod flatten; // stacked layers as one plain directory
pub(super) mod form; // how layers say what is gone
mod parents; // directories that layers say nothing of
mod tree; // names, resolved below the layer's root

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

pub(super) use self::error::LayerError;
pub use self::flatten::{FlattenError, flatten};
pub(super) use self::parents::{Told, mend};

use self::error::Stop;
use self::form::{Form, INTERNAL_PREFIX, OPAQUE_FILE, WHITEOUT_PREFIX};
use self::tree::{Tree, bad, clean};
use super::digest::{Digest, Hasher};
use crate::tarball::{Archive, Entry, Kind};

/// Most entries of a layer, and most directories above them: several times the files of a whole distribution.
const MAX_ENTRIES: u64 = 1_000_000;
/// Bytes read or written at once.
const PIECE_BYTES: usize = 128 << 10;
/// How gzip begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How zstd begins (RFC 8878).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a layer may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of the archive once it is unpacked.
    pub(super) bytes: u64,
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Bytes of its archive, about what it takes on disk.
    pub(super) bytes: u64,
    /// Directories that it has without an entry of their own, below its root.
    pub(super) implied: BTreeSet<PathBuf>,
}

/// Unpacks a layer into the empty directory `into`. Blocks.
///
/// # Errors
/// [`LayerError`]; the directory then holds whatever there is.
pub(super) fn unpack(
    compressed: impl Read,
    diff_id: &Digest,
    into: &Path,
    form: Form,
    limits: Limits,
    cancel: &CancellationToken,
) -> Result<Unpacked, LayerError> {
    let plain = decompress(BufReader::with_capacity(PIECE_BYTES, compressed))?;
    let counted = Counted {
        reader: plain,
        hasher: diff_id.hasher(),
        came: 0,
        bound: limits.bytes,
        cancel,
    };
    // Headers are small: without a buffer each would be a call to the decompressor.
    let mut archive = Archive::new(BufReader::with_capacity(PIECE_BYTES, counted));
    let mut tree = Tree::open(into, form)?;
    let mut entries: u64 = 0;
    while let Some(entry) = archive.next()? {
        entries += 1;
        if entries > MAX_ENTRIES {
            return Err(LayerError::TooLarge {
                bound: MAX_ENTRIES,
                unit: "entries",
            });
        }
        place(entry, &mut tree, &mut archive)?;
    }
    let implied = tree.finish()?;
    // The digest is that of the whole archive, with whatever comes after its end.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    let counted = rest.into_inner();
    let got = counted.hasher.finish();
    if got != *diff_id {
        return Err(LayerError::Mismatch {
            wanted: diff_id.to_string(),
            got: got.to_string(),
        });
    }
    Ok(Unpacked {
        bytes: counted.came,
        implied,
    })
}

/// What the bytes say they are; media types often are wrong, and archives on disk have none.
fn decompress<'a>(mut compressed: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, LayerError> {
    let begin = compressed.fill_buf().map_err(LayerError::Io)?;
    if begin.starts_with(&GZIP) {
        return Ok(Box::new(MultiGzDecoder::new(compressed)));
    }
    if begin.starts_with(&ZSTD) {
        // Its window is bounded by the library (128 MiB).
        let decoder = zstd::Decoder::with_buffer(compressed).map_err(LayerError::Io)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(compressed))
}

fn place<R: Read>(
    mut entry: Entry,
    tree: &mut Tree,
    archive: &mut Archive<R>,
) -> Result<(), LayerError> {
    entry.path = clean(&entry.path).map_err(|why| bad(&entry.path, why))?;
    // To the kernel this owner means "leave it as it is".
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(bad(&entry.path, "its owner is none"));
    }
    if let Some(name) = entry.path.file_name() {
        let above = entry.path.parent().unwrap_or_else(|| Path::new(""));
        if name == OPAQUE_FILE {
            return tree.hide_below(above);
        }
        let marks = |part: &OsStr, prefix: &str| part.as_bytes().starts_with(prefix.as_bytes());
        if entry.path.iter().any(|part| marks(part, INTERNAL_PREFIX)) {
            return Ok(());
        }
        if above.iter().any(|part| marks(part, WHITEOUT_PREFIX)) {
            return Err(bad(&entry.path, "it lies in what hides something"));
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX.as_bytes()) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(bad(&entry.path, "it hides what cannot be hidden"));
            }
            return tree.whiteout(above, OsStr::from_bytes(hidden));
        }
    }
    match &entry.kind {
        Kind::Directory => tree.directory(entry),
        Kind::File => tree.file(&entry, |file| copy(archive, file, entry.size)),
        Kind::Symlink(target) => tree.symlink(&entry, target),
        Kind::HardLink(target) => tree.hard_link(&entry, target),
        Kind::Fifo => tree.fifo(&entry),
        Kind::Device => Ok(()),
    }
}

fn copy(from: &mut impl Read, to: &mut File, size: u64) -> Result<(), LayerError> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(size).unwrap_or(PIECE_BYTES))];
    let mut left = size;
    while left > 0 {
        let count = from.read(&mut piece)?;
        to.write_all(piece.get(..count).unwrap_or_default())
            .map_err(LayerError::Io)?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

/// Counts and hashes what passes; ends at the bound, or when nobody wants it any more.
struct Counted<'a, R> {
    reader: R,
    hasher: Hasher,
    came: u64,
    bound: u64,
    cancel: &'a CancellationToken,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(Stop::GivenUp));
        }
        let count = self.reader.read(buffer).map_err(|error| {
            // Only decompressors know no better word for bytes that are none of theirs.
            if error.kind() == io::ErrorKind::Other {
                return io::Error::new(io::ErrorKind::InvalidData, error);
            }
            error
        })?;
        self.came += count as u64;
        if self.came > self.bound {
            return Err(io::Error::other(Stop::TooLarge(self.bound)));
        }
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
