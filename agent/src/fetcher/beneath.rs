//! A directory in which entries are made, and nothing outside of it.
//!
//! Invariants: the way to an entry is walked from the open directory, name by name, and no symbolic link is followed,
//! whoever made it and when; a file is made new, never opened; a symbolic link leads to a place below the directory; a
//! hard link leads to a plain file there. Whoever writes in the directory at the same time can spoil what is made, but
//! not lead it elsewhere. All of this blocks.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use mete_agent_core::task_dir::User;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, fchown, linkat,
    mkdirat, openat, openat2, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

/// Longest path of an entry, in bytes: the kernel's own limit, less the zero byte.
pub(super) const MAX_PATH_BYTES: usize = 4_095;

/// Why an entry is not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// It begins at the root of the machine.
    #[error("its path is absolute")]
    Absolute,
    /// It climbs.
    #[error("its path has a part \"..\"")]
    Climbs,
    /// It is too long.
    #[error("its path has more than {MAX_PATH_BYTES} bytes")]
    LongPath,
    /// It is the directory itself, but no directory.
    #[error("it has no name")]
    NoName,
    /// Something on the way is no directory.
    #[error("its path leads through a link or a file")]
    ThroughLink,
    /// A link that leads out.
    #[error("it is a link to {0:?}, which may lead out of the sandbox")]
    LinkLeaves(PathBuf),
    /// A hard link to something else than a file.
    #[error("it is a hard link to {0:?}, which is not a file of the sandbox")]
    LinkToNoFile(PathBuf),
    /// A device, a pipe, or what nobody knows.
    #[error("it is {0}")]
    Special(&'static str),
    /// The archive's words on it make no sense, or are not carried.
    #[error("{0}")]
    Unreadable(&'static str),
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for EntryError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::NOTDIR => Self::ThroughLink,
            errno => Self::Io(errno.into()),
        }
    }
}

/// The directory, and to whom belongs what is made.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
    owner: Option<(Uid, Gid)>,
}

impl Beneath {
    /// Opens a directory that the agent itself names.
    ///
    /// # Errors
    /// When it is not there, or no directory.
    pub(super) fn open(directory: &Path, owner: Option<&User>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let owner = owner.map(|user| (Uid::from_raw(user.uid), Gid::from_raw(user.gid)));
        Ok(Self {
            root: rustix::fs::open(directory, flags, Mode::empty())?,
            owner,
        })
    }

    /// Makes a file, in place of what has its name; it belongs to nobody else until it is [finished](Self::finish).
    pub(super) fn file(&self, path: &Path) -> Result<File, EntryError> {
        let (above, name) = self.place(path)?;
        remove(&above, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&above, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(made.into())
    }

    /// Gives a file to the owner, with its mode; bits beyond `rwx` are taken off.
    pub(super) fn finish(&self, file: &File, mode: u32) -> Result<(), EntryError> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(uid), Some(gid))?;
        }
        fchmod(file, Mode::from_raw_mode(mode & 0o777))?;
        Ok(())
    }

    /// Makes a directory, and those above it; one that is there is kept.
    pub(super) fn directory(&self, path: &Path) -> Result<(), EntryError> {
        self.walk(path, true).map(drop)
    }

    /// Sets the mode of a directory. Its owner can always pass and change it, so that it can be removed.
    pub(super) fn set_directory_mode(&self, path: &Path, mode: u32) -> Result<(), EntryError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let directory = openat2(&self.root, path, flags, Mode::empty(), below)?;
        fchmod(directory, Mode::from_raw_mode(mode & 0o777 | 0o700))?;
        Ok(())
    }

    /// Makes a symbolic link in place of what has its name.
    pub(super) fn symlink(&self, path: &Path, target: &Path) -> Result<(), EntryError> {
        if !stays(path, target) {
            return Err(EntryError::LinkLeaves(target.to_owned()));
        }
        let (above, name) = self.place(path)?;
        remove(&above, name)?;
        symlinkat(target, &above, name)?;
        if let Some((uid, gid)) = self.owner {
            chownat(
                &above,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(())
    }

    /// Makes a second name for a file that is there.
    pub(super) fn hard_link(&self, path: &Path, target: &Path) -> Result<(), EntryError> {
        let no_file = || EntryError::LinkToNoFile(target.to_owned());
        let original = relative(target.as_os_str().as_bytes())
            .map_err(|_| EntryError::LinkLeaves(target.to_owned()))?;
        let name_of_original = original.file_name().ok_or_else(no_file)?;
        let above_original = original.parent().unwrap_or_else(|| Path::new(""));
        let beside = self.walk(above_original, false).map_err(|_| no_file())?;
        let kind = statat(&beside, name_of_original, AtFlags::SYMLINK_NOFOLLOW);
        let is_file =
            kind.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if !is_file {
            return Err(no_file());
        }
        if original == path {
            return Ok(());
        }
        let (above, name) = self.place(path)?;
        remove(&above, name)?;
        linkat(&beside, name_of_original, &above, name, AtFlags::empty())?;
        Ok(())
    }

    /// Moves a file of the agent here, in place of what has its name.
    ///
    /// # Errors
    /// [`EntryError::Io`] with `CrossesDevices` when it has to be copied instead.
    pub(super) fn take(&self, from: &Path, path: &Path) -> Result<(), EntryError> {
        let (above, name) = self.place(path)?;
        renameat(CWD, from, &above, name)?;
        Ok(())
    }

    /// The open directory above an entry, made if need be, and the entry's name.
    fn place<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), EntryError> {
        let name = path.file_name().ok_or(EntryError::NoName)?;
        let above = self.walk(path.parent().unwrap_or_else(|| Path::new("")), true)?;
        Ok((above, name))
    }

    fn walk(&self, path: &Path, make: bool) -> Result<OwnedFd, EntryError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The common case in one call.
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let whole = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        match openat2(&self.root, whole, flags, Mode::empty(), below) {
            Err(Errno::NOENT) if make => {}
            opened => return Ok(opened?),
        }
        let mut place = openat(&self.root, ".", flags, Mode::empty())?;
        for name in path {
            let mode = Mode::from_raw_mode(0o755);
            let is_new = match mkdirat(&place, name, mode) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno.into()),
            };
            place = openat(&place, name, flags, Mode::empty())?;
            if let Some((uid, gid)) = self.owner.filter(|_| is_new) {
                chownat(&place, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            }
        }
        Ok(place)
    }
}

/// Removes what has a name, unless it is a directory.
fn remove(above: &OwnedFd, name: &OsStr) -> Result<(), EntryError> {
    match unlinkat(above, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(EntryError::Io(errno.into())),
    }
}

/// The path of an entry as an archive says it, without its dots.
///
/// # Errors
/// When it is absolute, climbs, or is too long.
pub(super) fn relative(path: &[u8]) -> Result<PathBuf, EntryError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(EntryError::LongPath);
    }
    let mut plain = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(EntryError::Climbs),
            Component::RootDir | Component::Prefix(_) => return Err(EntryError::Absolute),
        }
    }
    Ok(plain)
}

/// Whether a symbolic link at `path` leads to a place below the directory. The way up comes first and is no longer than
/// the way down to the link, which leads through true directories; what follows only goes down. A `..` after a name
/// would climb from wherever a link of that name leads, so it is refused.
fn stays(path: &Path, target: &Path) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let mut climbed = 0;
    let mut has_descended = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => has_descended = true,
            Component::CurDir => {}
            Component::ParentDir if has_descended => return false,
            Component::ParentDir => climbed += 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    climbed <= depth && !target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beneath() -> (tempfile::TempDir, PathBuf, Beneath) {
        let directory = tempfile::tempdir().expect("a directory");
        let sandbox = directory.path().join("sandbox");
        std::fs::create_dir(&sandbox).expect("made");
        let open = Beneath::open(&sandbox, None).expect("opens");
        (directory, sandbox, open)
    }

    #[test]
    fn links_may_lead_up_as_far_as_they_lie_down() {
        for (path, target, expected) in [
            ("a", "b", true),
            ("a", "./b/c", true),
            ("a/b/c", "../../x", true),
            ("a/b/c", "../../..", false),
            ("a", "..", false),
            ("a", "/etc", false),
            ("a/b", "x/../y", false),
            ("a", "", false),
        ] {
            let found = stays(Path::new(path), Path::new(target));
            assert_eq!(found, expected, "{path} -> {target}");
        }
    }

    #[test]
    fn nothing_is_made_through_a_link_that_was_there_before() {
        let (directory, sandbox, beneath) = beneath();
        let outside = directory.path().join("outside");
        // A directory that is there already is reached in one call, others name by name.
        std::fs::create_dir_all(outside.join("d")).expect("made");
        std::os::unix::fs::symlink(&outside, sandbox.join("way")).expect("linked");
        std::fs::write(outside.join("kept"), "old").expect("written");
        std::os::unix::fs::symlink(outside.join("kept"), sandbox.join("file")).expect("linked");

        for path in ["way/x", "way/a/b", "way/d/x"] {
            let error = beneath.file(Path::new(path)).expect_err(path);
            assert!(matches!(error, EntryError::ThroughLink), "{error}");
        }
        for path in ["way/d", "way/e"] {
            let error = beneath.directory(Path::new(path)).expect_err(path);
            assert!(matches!(error, EntryError::ThroughLink), "{error}");
        }
        let error = beneath
            .hard_link(Path::new("h"), Path::new("way/kept"))
            .expect_err("h");
        assert!(matches!(error, EntryError::LinkToNoFile(_)), "{error}");
        let error = beneath.hard_link(Path::new("h"), Path::new("file"));
        assert!(matches!(error, Err(EntryError::LinkToNoFile(_))));
        // In place of a link, not where it leads.
        let made = beneath.file(Path::new("file")).expect("made");
        beneath.finish(&made, 0o6755).expect("finished");

        assert_eq!(std::fs::read_dir(&outside).expect("read").count(), 2);
        let inside = std::fs::read_dir(outside.join("d")).expect("read");
        assert_eq!(inside.count(), 0);
        assert_eq!(std::fs::read(outside.join("kept")).expect("read"), b"old");
        let made = sandbox.join("file").symlink_metadata().expect("there");
        assert!(made.is_file());
        let mode = std::os::unix::fs::PermissionsExt::mode(&made.permissions());
        assert_eq!(mode & 0o7777, 0o755);
    }
}
