//! Places inside and outside a container that no symbolic link leads astray.

use std::os::fd::{AsFd, OwnedFd};

use mete_agent_core::task_dir::User;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fchown, fstat, fstatfs, mkdir,
    mkdirat, open, openat, openat2, stat, unlink,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::report::Fault;

/// Directories that are made on the way to a mount are everybody's to read.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// File systems into which nothing is mounted: the kernel's own words (statfs(2)).
const KERNELS_OWN: [i64; 2] = [0x9fa0, 0x6265_6572];

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Something below a directory that is trusted; links that lead out of it are refused.
pub(super) fn below(
    root: &str,
    path: &str,
    make: bool,
    owner: Option<&User>,
) -> Result<OwnedFd, Fault> {
    let named = || format!("{root}/{path}");
    let trusted = open(root, HANDLE | OFlags::DIRECTORY, Mode::empty()).map_err(Fault::of(root))?;
    if path.is_empty() {
        return Ok(trusted);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&trusted, path, HANDLE, Mode::empty(), resolve) {
        Err(Errno::NOENT) if make => make_below(trusted, path, owner).map_err(Fault::of(named())),
        opened => opened.map_err(Fault::of(named())),
    }
}

/// Makes what is missing of a path; what is made belongs to the task.
fn make_below(root: OwnedFd, path: &str, owner: Option<&User>) -> Result<OwnedFd, Errno> {
    let mut at = root;
    for name in path
        .split('/')
        .filter(|name| !name.is_empty() && *name != ".")
    {
        let made = mkdirat(&at, name, DIRECTORY_MODE);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let next = openat2(&at, name, flags, Mode::empty(), resolve)?;
        match (made, owner) {
            (Ok(()), Some(user)) => {
                let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
                fchown(&next, Some(uid), Some(gid))?;
            }
            (Ok(()), None) | (Err(Errno::EXIST), _) => {}
            (Err(errno), _) => return Err(errno),
        }
        at = next;
    }
    Ok(at)
}

pub(super) fn is_directory(handle: &OwnedFd) -> Result<bool, Errno> {
    let mode = fstat(handle)?.st_mode;
    Ok(FileType::from_raw_mode(mode) == FileType::Directory)
}

/// A place for a mount inside the container, whose root is `/` by now. Made when it is not there. Neither the root nor
/// anything of the kernel's own is one, wherever links lead.
pub(super) fn inside(path: &str, directory: bool) -> Result<OwnedFd, Fault> {
    let place = open_or_make(path, directory).map_err(Fault::of(path))?;
    let (own, root) = (fstat(&place), stat("/"));
    let is_root = matches!((&own, &root), (Ok(own), Ok(root)) if (own.st_dev, own.st_ino) == (root.st_dev, root.st_ino));
    let kind = fstatfs(&place).map_err(Fault::of(path))?.f_type;
    if is_root || KERNELS_OWN.contains(&kind) {
        return Err(Fault::of(path)(Errno::PERM));
    }
    Ok(place)
}

fn open_or_make(path: &str, directory: bool) -> Result<OwnedFd, Errno> {
    match open(path, HANDLE, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    if directory {
        directories(path)?;
        return open(path, HANDLE | OFlags::DIRECTORY, Mode::empty());
    }
    if let Some((parent, _)) = path.rsplit_once('/') {
        directories(parent)?;
    }
    // A link to nowhere stands in the way of a file (resolv.conf of many images).
    match unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    open(path, flags, Mode::from_raw_mode(0o644))?;
    open(path, HANDLE, Mode::empty())
}

/// Makes a directory with all above it.
pub(super) fn directories(path: &str) -> Result<(), Errno> {
    let ends = path
        .char_indices()
        .filter_map(|(at, letter)| (letter == '/' && at > 0).then_some(at));
    for end in ends.chain([path.len()]) {
        match mkdir(path.get(..end).unwrap_or_default(), DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// One of the kernel's own places, straight below the root; a link there is refused.
pub(super) fn own(path: &str) -> Result<OwnedFd, Fault> {
    match mkdir(path, DIRECTORY_MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        // A root that can only be read has it or has it not: opening it tells.
        Err(Errno::ROFS) => {}
        Err(errno) => return Err(Fault::of(path)(errno)),
    }
    let flags = HANDLE | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    open(path, flags, Mode::empty()).map_err(Fault::of(path))
}

/// A file of that name in an open directory, for something to be mounted on it.
pub(super) fn empty_file(directory: impl AsFd, name: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::from_raw_mode(0o666)).map(drop)
}

/// The last directory on the way to a path that is there, if it is empty and not the root.
pub(super) fn empty_above(path: &str) -> Option<&str> {
    let mut above = path.rsplit_once('/')?.0;
    while !above.is_empty() && !is_there(above) {
        above = above.rsplit_once('/')?.0;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(above, flags, Mode::empty()).ok()?;
    let mut entries = Dir::read_from(&directory).ok()?;
    let is_empty = entries
        .all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")));
    is_empty.then_some(above)
}

/// Whether a directory straight below the root is on another file system than the root.
pub(super) fn is_mounted_below_root(path: &str) -> bool {
    let device = |path| rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    matches!((device(path), device("/")), (Ok(own), Ok(root)) if own.st_dev != root.st_dev)
}

/// Whether there is something at a path, link or not.
pub(super) fn is_there(path: &str) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
