//! Files that are being fetched: in a directory that no task can enter, gone when nobody holds them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The directory of parts.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    next: Arc<AtomicU64>,
}

impl Parts {
    /// Makes the directory anew: what an earlier agent was about to fetch is of no use. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        make_empty(&folder)?;
        Ok(Self {
            folder,
            next: Arc::default(),
        })
    }

    /// A new, empty one, and the file for writing. Blocks for a moment.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn create(&self) -> io::Result<(Part, File)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok((Part { path, bytes: 0 }, file))
    }
}

/// A fetched file; removed when it is dropped, unless it has been moved away.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// Its size, once it is complete.
    pub(super) bytes: u64,
}

impl Part {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // One that was moved away is not there any more; one that stays goes at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a directory that only the agent can enter, and empties it. Blocks.
pub(super) fn make_empty(folder: &Path) -> io::Result<()> {
    let with_path =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(with_path(error)),
        Ok(()) | Err(_) => {}
    }
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(with_path)
}
