//! Stacked layers as one plain directory, for machines without overlayfs: a copy for each container.
//!
//! Layer by layer from the lowest; what a layer says is gone is removed first. Invariant: nothing is written through a
//! link that a lower layer has left: where an upper layer has a directory, anything else is removed before.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};
use rustix::io::Errno;

use super::form::{OPAQUE_FILE, OPAQUE_XATTR, WHITEOUT_PREFIX};
use crate::sandbox::remove_tree;

/// The longest list of attribute names, and the longest value: the kernel's own bounds.
const MAX_XATTR_BYTES: usize = 64 << 10;

/// Why layers cannot be copied together.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be copied", path.display())]
pub struct FlattenError {
    /// What of them.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Copies unpacked layers, lowest first, into the directory `target`, which becomes a root of its own. Blocks. Owners
/// are kept when the agent is root. What has been copied stays when it fails.
///
/// # Errors
/// [`FlattenError`] names the file.
pub fn flatten(layers: &[PathBuf], target: &Path) -> Result<(), FlattenError> {
    let is_root = rustix::process::geteuid().is_root();
    for layer in layers {
        let mut copy = Copy {
            layer,
            target,
            is_root,
            links: BTreeMap::new(),
            directories: Vec::new(),
        };
        copy.run()?;
    }
    Ok(())
}

/// The copy of one layer.
struct Copy<'a> {
    layer: &'a Path,
    target: &'a Path,
    is_root: bool,
    /// Where files with several names were copied to, by inode.
    links: BTreeMap<(u64, u64), PathBuf>,
    /// Directories, to be dressed when nothing is written into them any more.
    directories: Vec<(PathBuf, Metadata)>,
}

impl Copy<'_> {
    fn run(&mut self) -> Result<(), FlattenError> {
        // Not by recursion: a tree may be two thousand directories deep.
        let mut open = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            self.directory(&directory, &mut open)?;
        }
        for (directory, found) in std::mem::take(&mut self.directories).into_iter().rev() {
            let to = self.target.join(&directory);
            self.dress(&self.layer.join(&directory), &to, &found)
                .map_err(named(&to))?;
        }
        Ok(())
    }

    fn directory(&mut self, relative: &Path, open: &mut Vec<PathBuf>) -> Result<(), FlattenError> {
        let (from, to) = (self.layer.join(relative), self.target.join(relative));
        let found = fs::symlink_metadata(&from).map_err(named(&from))?;
        if is_opaque(&from).map_err(named(&from))? {
            remove_content(&to).map_err(named(&to))?;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&from).map_err(named(&from))? {
            names.push(entry.map_err(named(&from))?.file_name());
        }
        for name in &names {
            if let Some(hidden) = hidden(&from, name).map_err(named(&from))? {
                remove_tree_or_file(&to.join(hidden)).map_err(named(&to))?;
            }
        }
        for name in names {
            let one = from.join(&name);
            if hidden(&from, &name).map_err(named(&one))?.is_none() && name != OPAQUE_FILE {
                self.entry(&relative.join(&name), open)
                    .map_err(named(&one))?;
            }
        }
        self.directories.push((relative.to_owned(), found));
        Ok(())
    }

    fn entry(&mut self, relative: &Path, open: &mut Vec<PathBuf>) -> io::Result<()> {
        let (from, to) = (self.layer.join(relative), self.target.join(relative));
        let found = fs::symlink_metadata(&from)?;
        let kind = found.file_type();
        let there = fs::symlink_metadata(&to).ok();
        if kind.is_dir() {
            if !there.as_ref().is_some_and(Metadata::is_dir) {
                remove_tree_or_file(&to)?;
                fs::create_dir(&to)?;
                fs::set_permissions(&to, fs::Permissions::from_mode(0o700))?;
            }
            open.push(relative.to_owned());
            return Ok(());
        }
        if there.is_some() {
            remove_tree_or_file(&to)?;
        }
        let inode = (found.dev(), found.ino());
        if found.nlink() > 1 {
            if let Some(first) = self.links.get(&inode) {
                return fs::hard_link(first, &to);
            }
            self.links.insert(inode, to.clone());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_fifo() {
            let mode = Mode::from_raw_mode(found.mode() & 0o7777);
            mknodat(CWD, &to, FileType::Fifo, mode, 0)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        } else {
            return Ok(());
        }
        self.dress(&from, &to, &found)
    }

    /// Owner, mode, attributes and times, in the order in which none takes another away.
    fn dress(&self, from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
        if self.is_root {
            lchown(to, Some(found.uid()), Some(found.gid()))?;
        }
        if !found.is_symlink() {
            fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
            copy_xattrs(from, to)?;
        }
        let modified = Timespec {
            tv_sec: found.mtime(),
            tv_nsec: found.mtime_nsec(),
        };
        let times = Timestamps {
            last_access: modified,
            last_modification: modified,
        };
        Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn named(path: &Path) -> impl Fn(io::Error) -> FlattenError {
    move |source| FlattenError {
        path: path.to_owned(),
        source,
    }
}

/// The name that an entry says is gone, in either form.
fn hidden<'a>(directory: &Path, name: &'a OsStr) -> io::Result<Option<&'a OsStr>> {
    if name == OPAQUE_FILE {
        return Ok(None);
    }
    if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX.as_bytes()) {
        return Ok(Some(OsStr::from_bytes(hidden)));
    }
    let found = fs::symlink_metadata(directory.join(name))?;
    let is_gone = found.file_type().is_char_device() && found.rdev() == 0;
    Ok(is_gone.then_some(name))
}

fn is_opaque(directory: &Path) -> io::Result<bool> {
    if directory.join(OPAQUE_FILE).symlink_metadata().is_ok() {
        return Ok(true);
    }
    let mut value = [0; 1];
    match lgetxattr(directory, OPAQUE_XATTR, &mut value[..]) {
        Ok(count) => Ok(count == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0_u8; MAX_XATTR_BYTES];
    let count = match llistxattr(from, names.as_mut_slice()) {
        Ok(count) => count,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let names = names.get(..count).unwrap_or_default();
    let wanted = |name: &&[u8]| name.starts_with(b"user.") || *name == b"security.capability";
    for name in names.split(|byte| *byte == 0).filter(wanted) {
        let mut value = vec![0_u8; MAX_XATTR_BYTES];
        let count = lgetxattr(from, name, value.as_mut_slice())?;
        match lsetxattr(
            to,
            name,
            value.get(..count).unwrap_or_default(),
            XattrFlags::empty(),
        ) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn remove_content(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        remove_tree_or_file(&entry?.path())?;
    }
    Ok(())
}

/// Removes what is under a name; nothing is fine.
fn remove_tree_or_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
    }
}
