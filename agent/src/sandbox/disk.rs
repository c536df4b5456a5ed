//! The disk that sandboxes lie on: how full it is, and a reserve for when it is.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mete_agent_core::DiskSpace;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What the agent keeps for itself: thousands of records of a few kilobytes in its store, which
/// also grows by steps.
pub const DEFAULT_RESERVE_BYTES: u64 = 16 << 20;

/// How full the file system of `path` is; free is what the agent itself may still use.
///
/// # Errors
/// When the path cannot be looked at.
pub fn space(path: &Path) -> io::Result<DiskSpace> {
    let found = statvfs(path)?;
    let used = found.f_blocks.saturating_sub(found.f_bfree);
    Ok(DiskSpace {
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        used_bytes: used.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

/// Whether an error says that there is no room: the disk's, or a quota's.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A file that does nothing but take up room, until the room is needed: then updates, kills and
/// acknowledgements go on although tasks have filled the disk.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// The reserve at `path`; nothing is taken yet.
    pub const fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Whether the room is taken.
    pub fn is_held(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.len() >= self.bytes)
    }

    /// Takes the room; does nothing when it is taken.
    ///
    /// # Errors
    /// When there is no room (`StorageFull`): nothing is held then.
    pub fn restore(&self) -> io::Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        let taken = fallocate(&file, FallocateFlags::empty(), 0, self.bytes);
        taken
            .inspect_err(|_| drop(fs::remove_file(&self.path)))
            .map_err(io::Error::from)
    }

    /// Gives the room up.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn release(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}
