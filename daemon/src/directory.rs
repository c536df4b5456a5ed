//! The directory in which a daemon keeps what it has: made when it is not there.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nobody is kept out but by the umask.
pub const OPEN_TO_ALL: u32 = 0o777;

/// Why there is no directory.
#[derive(Clone, Debug, thiserror::Error)]
#[error("directory {} cannot be made", path.display())]
pub struct DirectoryError {
    /// Which.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl DirectoryError {
    /// Whether it would be made once the disk has room; else another directory is to be named.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        full.contains(&self.source.kind())
    }
}

/// Makes a directory and those above it, as far as they are not there; who may enter those that are made stands in `mode`.
///
/// # Errors
/// [`DirectoryError`]; also when there is something else in its place.
pub fn make(path: &Path, mode: u32) -> Result<(), DirectoryError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DirectoryError {
        path: path.to_owned(),
        source: Arc::new(source),
    })
}
