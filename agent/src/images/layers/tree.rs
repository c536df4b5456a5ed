//! One layer as it grows on disk: every name is resolved by the kernel below the layer's root, and through no link.
//!
//! ```text
//! a/b/c ─▶ openat2(root, "a/b", BENEATH | NO_SYMLINKS | NO_XDEV) ─▶ make "c" there, never opening what is there
//! ```
//! Invariants: nothing is written outside the root, whatever the names and links of a layer say; what is in the way is
//! removed, not written to; links are only ever stored, not followed.
//!
//! Directories get owner, mode and times last, when nothing is written into them any more. Those that no entry has asked
//! for are remembered: see [`parents`](super::parents).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::fchown;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fchmod, fsetxattr, futimens, linkat, mkdirat, mknodat, openat2, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::MAX_ENTRIES;
use super::error::LayerError;
use super::form::{Form, OPAQUE_FILE, OPAQUE_XATTR, WHITEOUT_PREFIX, is_whiteout};
use crate::sandbox::remove_tree;
use crate::tarball::Entry;

/// Attributes that layers may set: capabilities of programs, and what users say. All others steer the kernel of this
/// machine (overlayfs itself, security modules) and are left out.
const XATTRS: [&[u8]; 2] = [b"security.capability", b"user."];
/// The exception from them: overlayfs in user namespaces.
const XATTRS_NOT: &[u8] = b"user.overlay.";

/// Most bytes of names and attributes of directories, which are remembered until the end: thirty times those of a whole
/// distribution.
const MAX_REMEMBERED_BYTES: u64 = 64 << 20;

/// The directory of one layer.
pub(super) struct Tree {
    root: OwnedFd,
    form: Form,
    is_root: bool,
    /// The directory that was last written to: entries of one directory mostly follow each other.
    last: Option<(PathBuf, OwnedFd)>,
    /// What directories are to be in the end.
    directories: BTreeMap<PathBuf, Entry>,
    remembered_bytes: u64,
    /// Directories that no entry has asked for.
    implied: BTreeSet<PathBuf>,
}

impl Tree {
    /// A tree in an empty directory.
    pub(super) fn open(path: &Path, form: Form) -> Result<Self, LayerError> {
        Ok(Self {
            root: open_root(path)?,
            form,
            is_root: rustix::process::geteuid().is_root(),
            last: None,
            directories: BTreeMap::new(),
            remembered_bytes: 0,
            implied: BTreeSet::new(),
        })
    }

    /// A plain file with the content that `write` gives it.
    pub(super) fn file(
        &mut self,
        entry: &Entry,
        write: impl FnOnce(&mut File) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let (above, name) = split(&entry.path)?;
        let parent = self.parent(&above, &entry.path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |parent: BorrowedFd<'_>| {
            rustix::fs::openat(parent, &name, flags, Mode::RUSR | Mode::WUSR)
        };
        let file = match open(parent) {
            Err(Errno::EXIST) => {
                self.clear(&above, &name, &entry.path)?;
                open(self.parent(&above, &entry.path)?)
            }
            opened => opened,
        };
        let mut file = File::from(file.map_err(|errno| failed(&entry.path, errno))?);
        write(&mut file)?;
        self.dress(file.as_fd(), entry)
    }

    /// A directory; one that is there stays, with new owner, mode and times.
    pub(super) fn directory(&mut self, mut entry: Entry) -> Result<(), LayerError> {
        if !entry.path.as_os_str().is_empty() {
            let (above, name) = split(&entry.path)?;
            let parent = self.parent(&above, &entry.path)?;
            let made = mkdirat(parent, &name, Mode::RWXU);
            match made {
                Ok(()) => {}
                Err(Errno::EXIST) => self.replace_by_directory(&above, &name, &entry.path)?,
                Err(errno) => return Err(failed(&entry.path, errno)),
            }
        }
        let xattrs = entry.xattrs.iter();
        let attributes: usize = xattrs.map(|(name, value)| name.len() + value.len()).sum();
        self.remember(entry.path.as_os_str().len() + attributes)?;
        let path = std::mem::take(&mut entry.path);
        self.implied.remove(&path);
        self.directories.insert(path, entry);
        Ok(())
    }

    fn remember(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.remembered_bytes += bytes as u64;
        if self.remembered_bytes > MAX_REMEMBERED_BYTES {
            return Err(LayerError::TooLarge {
                bound: MAX_REMEMBERED_BYTES,
                unit: "bytes in names and attributes of directories",
            });
        }
        Ok(())
    }

    fn replace_by_directory(
        &mut self,
        above: &Path,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), LayerError> {
        let parent = self.parent(above, path)?;
        let there =
            statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| failed(path, errno))?;
        if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
            return Ok(());
        }
        let was_hidden = is_whiteout(&there);
        self.clear(above, name, path)?;
        let parent = self.parent(above, path)?;
        mkdirat(parent, name, Mode::RWXU).map_err(|errno| failed(path, errno))?;
        match was_hidden {
            // What lower layers have there stays hidden.
            true => self.hide_below(path),
            false => Ok(()),
        }
    }

    /// A symbolic link. It may say anything: it is not followed here, and in a container it leads nowhere else.
    pub(super) fn symlink(&mut self, entry: &Entry, target: &Path) -> Result<(), LayerError> {
        self.make(entry, |parent, name| symlinkat(target, parent, name))?;
        self.dress_by_name(entry)
    }

    /// A pipe.
    pub(super) fn fifo(&mut self, entry: &Entry) -> Result<(), LayerError> {
        let mode = Mode::from_raw_mode(entry.mode);
        self.make(entry, |parent, name| {
            mknodat(parent, name, FileType::Fifo, mode, 0)?;
            // Once more, without the process' mask.
            chmodat(parent, name, mode, AtFlags::empty())
        })?;
        self.dress_by_name(entry)
    }

    /// One more name of a file that is in the layer already.
    pub(super) fn hard_link(&mut self, entry: &Entry, target: &Path) -> Result<(), LayerError> {
        let refused = |why: &str| bad(&entry.path, why);
        let target = clean(target).map_err(|_| refused("a hard link leads out of the layer"))?;
        if target == entry.path {
            return Err(refused("a hard link leads to itself"));
        }
        let (above, name) =
            split(&target).map_err(|_| refused("a hard link leads to the root of the layer"))?;
        let from = self.open_directory(&above).map_err(|errno| match errno {
            Errno::LOOP => refused("a hard link leads through a symbolic link"),
            _ => refused("a hard link leads to what is not in the layer"),
        })?;
        let found = statat(&from, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|_| refused("a hard link leads to what is not in the layer"))?;
        if is_whiteout(&found) || FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Err(refused("a hard link leads to what is no file"));
        }
        self.make(entry, |parent, link| {
            linkat(&from, &name, parent, link, AtFlags::empty())
        })
    }

    /// One more name of something of another layer that is no directory.
    pub(super) fn further_name(
        &mut self,
        entry: &Entry,
        from: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), LayerError> {
        self.make(entry, |parent, link| {
            linkat(from, name, parent, link, AtFlags::empty())
        })
    }

    /// What lower layers have under this name is not there any more.
    pub(super) fn whiteout(&mut self, above: &Path, hidden: &OsStr) -> Result<(), LayerError> {
        let path = above.join(hidden);
        let form = self.form;
        let parent = self.parent(above, &path)?;
        match statat(parent, hidden, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::Directory => {
                return self.hide_below(&path);
            }
            // Something else of this layer hides it as well.
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(&path, errno)),
        }
        let made = match form {
            Form::Overlay => mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0),
            Form::Files => {
                let mut name = OsString::from(WHITEOUT_PREFIX);
                name.push(hidden);
                mark(parent, &name)
            }
        };
        made.map_err(|errno| failed(&path, errno))
    }

    /// What lower layers have in this directory is not there any more.
    pub(super) fn hide_below(&mut self, directory: &Path) -> Result<(), LayerError> {
        let form = self.form;
        let opened = self.parent(directory, directory)?;
        let marked = match form {
            Form::Overlay => fsetxattr(opened, OPAQUE_XATTR, b"y", XattrFlags::empty()),
            Form::Files => mark(opened, OsStr::new(OPAQUE_FILE)),
        };
        marked.map_err(|errno| failed(directory, errno))
    }

    /// Gives directories owner, mode and times. Those that no entry has asked for come back.
    pub(super) fn finish(mut self) -> Result<BTreeSet<PathBuf>, LayerError> {
        self.last = None;
        for (path, entry) in std::mem::take(&mut self.directories) {
            // What was replaced by something else since is not a directory any more.
            match self.open_directory(&path) {
                Ok(opened) => self.dress(opened.as_fd(), &entry)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed(&path, errno)),
            }
        }
        let mut implied = std::mem::take(&mut self.implied);
        implied.retain(|path| self.open_directory(path).is_ok());
        Ok(implied)
    }

    /// Makes something under the entry's name, in the place of what is there.
    fn make(
        &mut self,
        entry: &Entry,
        how: impl Fn(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<()>,
    ) -> Result<(), LayerError> {
        let (above, name) = split(&entry.path)?;
        let made = match how(self.parent(&above, &entry.path)?, &name) {
            Err(Errno::EXIST) => {
                self.clear(&above, &name, &entry.path)?;
                how(self.parent(&above, &entry.path)?, &name)
            }
            made => made,
        };
        made.map_err(|errno| failed(&entry.path, errno))
    }

    /// Removes what is in the way.
    fn clear(&mut self, above: &Path, name: &OsStr, path: &Path) -> Result<(), LayerError> {
        let parent = self.parent(above, path)?;
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                let place = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
                let removed = remove_tree(&place.join(name));
                // What was open may be gone.
                self.last = None;
                removed.map_err(LayerError::Io)
            }
            Err(errno) => Err(failed(path, errno)),
        }
    }

    /// The open directory of that path, made with all above it if need be; `for_whom` is named in errors.
    fn parent(&mut self, above: &Path, for_whom: &Path) -> Result<BorrowedFd<'_>, LayerError> {
        let is_last = self.last.as_ref().is_some_and(|(path, _)| path == above);
        if !is_last {
            let mut made = Vec::new();
            let opened = match self.open_directory(above) {
                Err(Errno::NOENT | Errno::NOTDIR) => self.make_directories(above, &mut made),
                opened => opened,
            };
            let opened = opened.map_err(|errno| match errno {
                Errno::LOOP => bad(for_whom, "it leads through a symbolic link"),
                Errno::NOTDIR => bad(for_whom, "it leads through what is no directory"),
                errno => failed(for_whom, errno),
            })?;
            self.last = Some((above.to_owned(), opened));
            for path in made {
                self.remember(path.as_os_str().len())?;
                self.implied.insert(path);
            }
            if self.implied.len() > MAX_ENTRIES as usize {
                return Err(LayerError::TooLarge {
                    bound: MAX_ENTRIES,
                    unit: "directories that are not in it",
                });
            }
        }
        match &self.last {
            Some((_, opened)) => Ok(opened.as_fd()),
            None => Err(bad(for_whom, "its directory is gone")),
        }
    }

    fn open_directory(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        enter(self.root.as_fd(), path)
    }

    /// Makes what is missing of a path; what that is, is added to `made`.
    fn make_directories(
        &self,
        path: &Path,
        made: &mut Vec<PathBuf>,
    ) -> rustix::io::Result<OwnedFd> {
        let mut opened = enter(self.root.as_fd(), Path::new(""))?;
        let mut at = PathBuf::new();
        for part in path {
            at.push(part);
            match mkdirat(&opened, part, Mode::from_raw_mode(0o755)) {
                Ok(()) => made.push(at.clone()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            opened = match enter(opened.as_fd(), Path::new(part)) {
                Err(Errno::NOTDIR) => {
                    made.push(at.clone());
                    begin_anew(opened.as_fd(), part)?
                }
                entered => entered?,
            };
        }
        Ok(opened)
    }

    /// Owner, mode, attributes and times of what is open. The owner first: it takes mode bits and capabilities away.
    fn dress(&self, opened: BorrowedFd<'_>, entry: &Entry) -> Result<(), LayerError> {
        if self.is_root {
            fchown(opened, Some(entry.uid), Some(entry.gid)).map_err(LayerError::Io)?;
        }
        fchmod(opened, Mode::from_raw_mode(entry.mode))
            .map_err(|errno| failed(&entry.path, errno))?;
        for (name, value) in &entry.xattrs {
            let is_wanted = XATTRS.iter().any(|wanted| name.starts_with(wanted));
            if !is_wanted || name.starts_with(XATTRS_NOT) || name.contains(&0) {
                continue;
            }
            match fsetxattr(opened, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // A file system without them, or an agent without the right: the file still is what it says.
                Err(Errno::OPNOTSUPP) => {}
                Err(Errno::PERM | Errno::ACCESS) if !self.is_root => {}
                Err(errno) => return Err(failed(&entry.path, errno)),
            }
        }
        futimens(opened, &times(entry)).map_err(|errno| failed(&entry.path, errno))
    }

    /// As [`Self::dress`], for what is not opened: links and pipes.
    fn dress_by_name(&mut self, entry: &Entry) -> Result<(), LayerError> {
        let (above, name) = split(&entry.path)?;
        let is_root = self.is_root;
        let parent = self.parent(&above, &entry.path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if is_root {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            chownat(parent, &name, Some(uid), Some(gid), flags)
                .map_err(|errno| failed(&entry.path, errno))?;
        }
        utimensat(parent, &name, &times(entry), flags).map_err(|errno| failed(&entry.path, errno))
    }
}

/// The path below the root: without a leading `/` or `./`, which mean the root itself.
pub(super) fn clean(path: &Path) -> Result<PathBuf, &'static str> {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) if name.as_bytes().contains(&0) => {
                return Err("its name holds a zero byte");
            }
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => return Err("its name leads upwards with '..'"),
            Component::Prefix(_) => return Err("its name is none of this system"),
        }
    }
    Ok(cleaned)
}

/// An error of an entry.
pub(super) fn bad(path: &Path, why: impl Into<String>) -> LayerError {
    LayerError::Bad {
        entry: path.display().to_string(),
        why: why.into(),
    }
}

/// The root of a layer, open.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| LayerError::Io(errno.into()))
}

/// What the system says about an entry: its fault, or the disk's.
pub(super) fn failed(path: &Path, errno: Errno) -> LayerError {
    match errno {
        Errno::NAMETOOLONG | Errno::INVAL | Errno::MLINK | Errno::ISDIR | Errno::NOTDIR => {
            bad(path, io::Error::from(errno).to_string())
        }
        errno => LayerError::Io(errno.into()),
    }
}

fn split(path: &Path) -> Result<(PathBuf, OsString), LayerError> {
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => Ok((above.to_owned(), name.to_owned())),
        _ => Err(bad(path, "it would take the place of the root")),
    }
}

/// Opens a directory below an open one, through no link.
pub(super) fn enter(from: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(from, path, flags, Mode::empty(), how)
}

/// Makes a directory where the layer has said before that what lower layers have is gone: it stays so.
fn begin_anew(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    if !is_whiteout(&statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?) {
        return Err(Errno::NOTDIR);
    }
    unlinkat(directory, name, AtFlags::empty())?;
    mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
    let opened = enter(directory, Path::new(name))?;
    fsetxattr(&opened, OPAQUE_XATTR, b"y", XattrFlags::empty())?;
    Ok(opened)
}

/// An empty file that only has a name; one that is there is fine.
fn mark(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR).map(drop)
}

fn times(entry: &Entry) -> Timestamps {
    let (tv_sec, nanoseconds) = entry.modified;
    let modified = Timespec {
        tv_sec,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}
