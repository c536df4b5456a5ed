//! Sandboxes: the working directories of tasks, made, read by people, and removed.
//!
//! Invariants: a path that a person or a program gives never leads out of its sandbox, whatever the
//! task has put there: the kernel resolves it below the sandbox and refuses the rest (`openat2`).
//! Only plain files are read. Removing follows no link and crosses no mount.
//!
//! All of this may block on the disk: not for the runtime's threads, except where a function is
//! `async`.

mod disk;
mod measure;
mod remove;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use mete_agent_core::task_dir::User;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat,
};
use rustix::io::Errno;

pub(crate) use disk::is_full;
pub use disk::{DEFAULT_RESERVE_BYTES, Reserve, space};
pub(crate) use measure::used_bytes;
pub use remove::{remove, remove_tree};

/// The most that one read returns: Mesos' page.
pub const MAX_READ_BYTES: usize = 64 << 10;

/// The most entries that one listing returns; a task may make millions of files.
pub const MAX_ENTRIES: usize = 10_000;

/// Makes a sandbox, and the directories above it; they can be passed through, the sandbox can be
/// read by its group. One that is there is kept.
///
/// # Errors
/// What the system says, with the path.
pub fn create(path: &Path, owner: Option<&User>) -> io::Result<()> {
    let with_path =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let above = path.parent().unwrap_or(path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(above)
        .map_err(with_path)?;
    match fs::DirBuilder::new().mode(0o750).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        done => done.map_err(with_path)?,
    }
    match owner {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)).map_err(with_path),
        None => Ok(()),
    }
}

/// Why something in a sandbox cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is nothing of that name.
    #[error("{0}: there is no such file or directory in the sandbox")]
    NotFound(String),
    /// The path leads out of the sandbox.
    #[error("{0}: the path leads out of the sandbox")]
    Outside(String),
    /// It is a directory where a file is needed, or a pipe, a device, a socket.
    #[error("{path}: it is {is}, not {wanted}")]
    WrongKind {
        /// Which path.
        path: String,
        /// What it is.
        is: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The offset is less than -1.
    #[error("offset {0} is neither a position nor -1, which asks for the size")]
    BadOffset(i64),
    /// Reading fails.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which path.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// Mode with the kind of file, as `stat` gives it; a link is shown as a link.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last change of its content, in seconds since the epoch.
    pub modified_seconds: i64,
    /// Number of names it has.
    pub links: u64,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }
}

/// What a directory holds, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries, at most [`MAX_ENTRIES`].
    pub entries: Vec<Entry>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins; the size of the file when that was asked for.
    pub offset: u64,
    /// At most [`MAX_READ_BYTES`]; empty at the end of the file.
    pub data: Vec<u8>,
    /// Size of the file at the time of reading.
    pub size: u64,
}

/// An open sandbox.
#[derive(Debug)]
pub struct Sandbox(OwnedFd);

impl Sandbox {
    /// Opens the directory at `path`, which comes from the agent, not from a user.
    ///
    /// # Errors
    /// When it is not there, or no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Lists a directory; empty or `.` is the sandbox itself.
    ///
    /// # Errors
    /// [`FileError`] names the path.
    pub fn list(&self, path: &str) -> Result<Listing, FileError> {
        let (place, _) = self.locate(path, FileType::Directory)?;
        let unreadable = |errno: Errno| FileError::Unreadable {
            path: path.to_owned(),
            source: errno.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = reopen(&place, flags).map_err(unreadable)?;
        let mut listing = Listing {
            entries: Vec::new(),
            is_cut: false,
        };
        for found in Dir::read_from(&directory).map_err(unreadable)? {
            let found = found.map_err(unreadable)?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if listing.entries.len() == MAX_ENTRIES {
                listing.is_cut = true;
                break;
            }
            // What has gone since it was listed is not shown.
            if let Ok(stat) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                listing
                    .entries
                    .push(entry(name.to_string_lossy().into_owned(), &stat));
            }
        }
        listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// Reads up to `length` bytes of a file from `offset` on, at most [`MAX_READ_BYTES`]; offset -1
    /// asks for the size only. Beyond the end there is nothing, and the end is where it is read.
    ///
    /// # Errors
    /// [`FileError`] names the path or the offset.
    pub fn read(&self, path: &str, offset: i64, length: usize) -> Result<Chunk, FileError> {
        let start = match u64::try_from(offset) {
            Ok(start) => Some(start),
            Err(_) if offset == -1 => None,
            Err(_) => return Err(FileError::BadOffset(offset)),
        };
        let (place, stat) = self.locate(path, FileType::RegularFile)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let Some(start) = start else {
            return Ok(Chunk {
                offset: size,
                data: Vec::new(),
                size,
            });
        };
        let unreadable = |source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = reopen(&place, OFlags::RDONLY | OFlags::CLOEXEC)
            .map_err(|errno| unreadable(errno.into()))?;
        let left = usize::try_from(size.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut data = vec![0; length.min(MAX_READ_BYTES).min(left)];
        let mut filled = 0;
        while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match fs::File::from(file.try_clone().map_err(unreadable)?)
                .read_at(rest, start + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        data.truncate(filled);
        Ok(Chunk {
            // Who has read further than there is, because the file was cut, begins again at its end (so in Mesos).
            offset: start.min(size),
            data,
            size,
        })
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FileError`] names the path.
    pub fn open_file(&self, path: &str) -> Result<fs::File, FileError> {
        let (place, _) = self.locate(path, FileType::RegularFile)?;
        let opened = reopen(&place, OFlags::RDONLY | OFlags::CLOEXEC);
        opened
            .map(Into::into)
            .map_err(|errno| FileError::Unreadable {
                path: path.to_owned(),
                source: errno.into(),
            })
    }

    /// Finds what `path` names without opening it, so that no pipe or device notices.
    fn locate(&self, path: &str, wanted: FileType) -> Result<(OwnedFd, Stat), FileError> {
        let shown = || path.chars().take(200).collect::<String>();
        let relative = if path.is_empty() { "." } else { path };
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(
            &self.0,
            relative,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            below,
        );
        let place = opened.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => FileError::NotFound(shown()),
            // Beneath refuses with XDEV, magic links with LOOP; a text with a zero byte names nothing.
            Errno::XDEV | Errno::LOOP | Errno::INVAL => FileError::Outside(shown()),
            errno => FileError::Unreadable {
                path: shown(),
                source: errno.into(),
            },
        })?;
        let stat = fstat(&place).map_err(|errno| FileError::Unreadable {
            path: shown(),
            source: errno.into(),
        })?;
        let found = FileType::from_raw_mode(stat.st_mode);
        match found == wanted {
            true => Ok((place, stat)),
            false => Err(FileError::WrongKind {
                path: shown(),
                is: kind(found),
                wanted: kind(wanted),
            }),
        }
    }
}

/// Opens for reading what was located, and nothing else.
fn reopen(place: &OwnedFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(
        format!("/proc/self/fd/{}", place.as_raw_fd()),
        flags,
        Mode::empty(),
    )
}

/// What a directory is called in [`FileError::WrongKind`].
pub(crate) const DIRECTORY: &str = "a directory";

fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a file",
        FileType::Directory => DIRECTORY,
        FileType::Symlink => "a link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

#[allow(
    clippy::useless_conversion,
    reason = "the number of links has 32 bits on some architectures"
)]
fn entry(name: String, stat: &Stat) -> Entry {
    Entry {
        name,
        mode: stat.st_mode,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_seconds: stat.st_mtime,
        links: u64::from(stat.st_nlink),
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// When a sandbox was last changed at its top, in seconds since the epoch: about when its task began.
///
/// # Errors
/// When it is not there.
pub fn changed_seconds(path: &Path) -> io::Result<i64> {
    Ok(fs::symlink_metadata(path)?.mtime())
}

/// The place of a sandbox, in Mesos' words:
/// `<root>/frameworks/<framework>/tasks/<task>/runs/<container>`.
pub fn place(root: &Path, framework: &str, task: &str, container: &str) -> PathBuf {
    root.join("frameworks")
        .join(framework)
        .join("tasks")
        .join(task)
        .join("runs")
        .join(container)
}

#[cfg(test)]
mod tests;
