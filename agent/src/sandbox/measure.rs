//! How much of the disk a directory tree takes, as `du -x` counts it.
//!
//! No link is followed and no mount is crossed, whatever a task makes of the tree while it is looked at; a file with several
//! names counts once.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat};
use rustix::io::Errno;

/// Blocks of `stat` are of this size, whatever the file system's are (POSIX leaves it open, Linux does not).
const BLOCK_BYTES: u64 = 512;

/// Bytes that a directory and everything below it take on its disk; 0 of one that is gone. Blocks. `left`: how many entries
/// may be looked at; those that were are taken from it.
///
/// # Errors
/// What the system says; a tree of more entries, or with paths that are too long for the kernel.
pub(crate) fn used_bytes(root: &Path, left: &mut usize) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match openat2(CWD, root, flags, Mode::empty(), ResolveFlags::empty()) {
        Err(Errno::NOENT) => return Ok(0),
        opened => opened?,
    };
    let mut tree = Tree {
        bytes: blocks(rustix::fs::fstat(&top)?.st_blocks),
        left,
        ahead: Vec::new(),
        shared: BTreeSet::new(),
    };
    tree.directory(&top, Path::new("."))?;
    while let Some(path) = tree.ahead.pop() {
        match beneath(&top, &path) {
            // Gone, or something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
            opened => tree.directory(&opened?, &path)?,
        }
    }
    Ok(tree.bytes)
}

/// What was found so far.
struct Tree<'a> {
    bytes: u64,
    left: &'a mut usize,
    /// Directories that are still to be looked into, as paths from the top: depth costs no descriptors.
    ahead: Vec<PathBuf>,
    /// Files with several names that were counted, by number.
    shared: BTreeSet<u64>,
}

impl Tree<'_> {
    fn directory(&mut self, directory: &OwnedFd, path: &Path) -> io::Result<()> {
        for found in Dir::read_from(directory)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let too_many =
                || io::Error::new(io::ErrorKind::FileTooLarge, "it has too many entries");
            *self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
            let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !is_directory && stat.st_nlink > 1 && !self.shared.insert(stat.st_ino) {
                continue;
            }
            self.bytes = self.bytes.saturating_add(blocks(stat.st_blocks));
            if is_directory {
                self.ahead
                    .push(path.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        Ok(())
    }
}

fn blocks(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0) * BLOCK_BYTES
}

/// Opens a directory below the top, on the same mount, not through a link.
fn beneath(top: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(top.as_fd(), path, flags, Mode::empty(), how)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_takes_what_its_files_take_each_once_and_nothing_behind_links() {
        let place = tempfile::tempdir().unwrap();
        let (tree, other) = (place.path().join("tree"), place.path().join("other"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        let empty = used_bytes(&tree, &mut 10).unwrap();
        fs::write(other.join("far"), vec![1; 8 << 20]).unwrap();
        fs::write(tree.join("a/b/file"), vec![1; 1 << 20]).unwrap();

        fs::hard_link(tree.join("a/b/file"), tree.join("again")).unwrap();
        symlink(&other, tree.join("link")).unwrap();

        let used = used_bytes(&tree, &mut 10).unwrap() - empty;
        assert!((1 << 20..2 << 20).contains(&used), "{used}");
        assert_eq!(used_bytes(&place.path().join("gone"), &mut 0).unwrap(), 0);
        let mut left = 5;
        used_bytes(&tree, &mut left).unwrap();
        assert_eq!(left, 0, "a, b, file, again, link");
        assert!(used_bytes(&tree, &mut 4).is_err());
    }
}
