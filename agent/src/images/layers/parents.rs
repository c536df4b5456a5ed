//! Directories that a layer has something in and says nothing of: they are what lower layers say they are.
//!
//! ```text
//! layer 1   tmp (1777)        lib ─▶ usr/lib     usr/lib/libc.so
//! layer 2   tmp/x             lib/x                                   no entry of its own for tmp, nor for lib
//! above     tmp (1777)        lib ─▶ usr/lib     usr/lib/x            what is made here
//! ```
//! A layer is unpacked alone and shared by images with other layers below it, so it has such a directory as it must be
//! by itself: root's, mode 755, and in the place of a link. What the layers of one image mean together becomes one more
//! layer on top of them: directories with the owner, mode and times that they have below, links, and what upper layers
//! have put into directories in their place, as further names of the same files. Nothing is followed but those links,
//! which lead from the root of the stack and never out of it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::error::LayerError;
use super::form::{Form, OPAQUE_FILE, WHITEOUT_PREFIX, is_opaque_directory, is_whiteout};
use super::tree::{Tree, enter, failed, open_root};
use crate::tarball::{Entry, Kind};

/// Most links on one way: the kernel's own bound.
const MAX_LINKS: usize = 40;

/// An unpacked layer, and the directories that it has without an entry of their own.
#[derive(Debug)]
pub(in crate::images) struct Told {
    /// Where it lies.
    pub(in crate::images) place: PathBuf,
    /// Paths below its root.
    pub(in crate::images) implied: BTreeSet<PathBuf>,
}

/// Makes the layer that belongs on top of `layers`, lowest first, in the empty directory `into`; whether there is
/// anything in it. Blocks.
///
/// # Errors
/// [`LayerError`]; the directory then holds whatever there is.
pub(in crate::images) fn mend(
    layers: &[Told],
    into: &Path,
    form: Form,
    cancel: &CancellationToken,
) -> Result<bool, LayerError> {
    let mut mending = Mending {
        stack: Stack::open(layers)?,
        tree: Tree::open(into, form)?,
        made: BTreeSet::new(),
    };
    let implied: BTreeSet<&Path> = layers
        .iter()
        .skip(1)
        .flat_map(|layer| layer.implied.iter().map(PathBuf::as_path))
        .collect();
    // Directories come before what is in them, so what was moved with one of them is known.
    let mut moved: Option<&Path> = None;
    for path in implied {
        if cancel.is_cancelled() {
            return Err(LayerError::GivenUp);
        }
        if moved.is_some_and(|moved| path.starts_with(moved)) {
            continue;
        }
        match mending.stack.look(path)? {
            Some(Seen::Directory {
                stat,
                is_hidden: true,
            }) => {
                mending.directory(path, &stat)?;
            }
            Some(Seen::Link {
                at,
                stat,
                to,
                is_hidden: true,
            }) => {
                if let Some(target) = mending.stack.resolve(path, &to)? {
                    mending.link(path, &stat, &to)?;
                    mending.move_all(at, path, &target, cancel)?;
                    moved = Some(path);
                }
            }
            Some(Seen::Directory { .. } | Seen::Link { .. }) | None => {}
        }
    }
    let is_any = !mending.made.is_empty();
    mending.tree.finish()?;
    Ok(is_any)
}

struct Mending<'a> {
    stack: Stack<'a>,
    tree: Tree,
    /// What has been made, with all above it.
    made: BTreeSet<PathBuf>,
}

impl Mending<'_> {
    /// A directory as it is below, and those above it as they are.
    fn directory(&mut self, path: &Path, stat: &Stat) -> Result<(), LayerError> {
        self.above(path)?;
        if self.made.insert(path.to_owned()) {
            self.tree.directory(entry(path, Kind::Directory, stat))?;
        }
        Ok(())
    }

    fn above(&mut self, path: &Path) -> Result<(), LayerError> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        // The root itself has no name.
        above.pop();
        for directory in above.into_iter().rev() {
            if self.made.contains(directory) {
                continue;
            }
            if let Some(Seen::Directory { stat, .. }) = self.stack.look(directory)? {
                self.made.insert(directory.to_owned());
                self.tree
                    .directory(entry(directory, Kind::Directory, &stat))?;
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, stat: &Stat, to: &Path) -> Result<(), LayerError> {
        self.above(path)?;
        self.made.insert(path.to_owned());
        self.tree
            .symlink(&entry(path, Kind::Symlink(to.to_owned()), stat), to)
    }

    /// What layers above `at` have in the directory `from` belongs into `to`.
    fn move_all(
        &mut self,
        at: usize,
        from: &Path,
        to: &Path,
        cancel: &CancellationToken,
    ) -> Result<(), LayerError> {
        for layer in at + 1..self.stack.layers.len() {
            // Not by recursion: a tree may be two thousand directories deep.
            let mut open = vec![PathBuf::new()];
            while let Some(below) = open.pop() {
                if cancel.is_cancelled() {
                    return Err(LayerError::GivenUp);
                }
                self.move_one(layer, from, to, &below, &mut open)?;
            }
        }
        Ok(())
    }

    fn move_one(
        &mut self,
        layer: usize,
        from: &Path,
        to: &Path,
        below: &Path,
        open: &mut Vec<PathBuf>,
    ) -> Result<(), LayerError> {
        let (from, to) = (from.join(below), to.join(below));
        let fault = |errno| failed(&from, errno);
        let Some((root, told)) = self.stack.layers.get(layer) else {
            return Ok(());
        };
        let directory = match enter(root.as_fd(), &from) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            entered => entered.map_err(fault)?,
        };
        let own = statat(&directory, "", AtFlags::EMPTY_PATH).map_err(fault)?;
        let is_implied = told.implied.contains(&from);
        let is_opaque = is_opaque_directory(&directory).map_err(fault)?;
        let stat = match self.stack.look(&to)? {
            Some(Seen::Directory { stat, .. }) if is_implied => stat,
            Some(Seen::Directory { .. } | Seen::Link { .. }) | None => own,
        };
        self.directory(&to, &stat)?;
        if is_opaque {
            self.tree.hide_below(&to)?;
        }
        for found in Dir::read_from(&directory).map_err(fault)? {
            let found = found.map_err(fault)?;
            let name = OsStr::from_bytes(found.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") || name == OPAQUE_FILE {
                continue;
            }
            let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
            if kind(&stat) == FileType::Directory {
                open.push(below.join(name));
            } else if !self
                .stack
                .is_said_above(layer, [from.as_path(), to.as_path()], name)?
            {
                let entry = entry(&to.join(name), Kind::File, &stat);
                self.tree.further_name(&entry, directory.as_fd(), name)?;
            }
        }
        Ok(())
    }
}

/// What is seen at a path of all layers together, were it not for directories that are only implied.
enum Seen {
    /// A directory.
    Directory {
        /// As it is to be.
        stat: Stat,
        /// Whether an upper layer implies one that hides it.
        is_hidden: bool,
    },
    /// A symbolic link.
    Link {
        /// The layer that has it.
        at: usize,
        /// Whose it is, and from when.
        stat: Stat,
        /// What it says.
        to: PathBuf,
        /// As above.
        is_hidden: bool,
    },
}

/// What one layer says of a path.
enum Said {
    /// Nothing.
    Nothing,
    /// Neither this layer nor a lower one has anything there.
    Gone,
    /// Something else than a directory or a link.
    Other,
    /// A directory with an entry of its own, or without.
    Directory(Stat, bool),
    /// A symbolic link.
    Link(Stat, PathBuf),
}

struct Stack<'a> {
    layers: Vec<(OwnedFd, &'a Told)>,
}

impl<'a> Stack<'a> {
    fn open(layers: &'a [Told]) -> Result<Self, LayerError> {
        let opened = layers
            .iter()
            .map(|layer| Ok((open_root(&layer.place)?, layer)));
        Ok(Self {
            layers: opened.collect::<Result<_, LayerError>>()?,
        })
    }

    /// What is there, from the highest layer down; `None`: nothing, or something that a directory does not hide.
    fn look(&self, path: &Path) -> Result<Option<Seen>, LayerError> {
        let mut implied: Option<Stat> = None;
        for (at, (root, told)) in self.layers.iter().enumerate().rev() {
            let said = say(root, told, path).map_err(|errno| failed(path, errno))?;
            let is_hidden = implied.is_some();
            match said.what {
                Said::Nothing => {}
                Said::Gone | Said::Other => break,
                Said::Directory(stat, true) => {
                    return Ok(Some(Seen::Directory { stat, is_hidden }));
                }
                Said::Directory(stat, false) => {
                    implied.get_or_insert(stat);
                }
                Said::Link(stat, to) => {
                    return Ok(Some(Seen::Link {
                        at,
                        stat,
                        to,
                        is_hidden,
                    }));
                }
            }
            if said.is_last {
                break;
            }
        }
        Ok(implied.map(|stat| Seen::Directory {
            stat,
            is_hidden: false,
        }))
    }

    /// Whether a layer above one says something of a name, or of all there is, in one of these directories.
    fn is_said_above(
        &self,
        layer: usize,
        directories: [&Path; 2],
        name: &OsStr,
    ) -> Result<bool, LayerError> {
        let marked = name.as_bytes().strip_prefix(WHITEOUT_PREFIX.as_bytes());
        let name = marked.map_or(name, OsStr::from_bytes);
        for (root, told) in self.layers.iter().skip(layer + 1) {
            for directory in directories {
                let path = directory.join(name);
                let word = say(root, told, &path).map_err(|errno| failed(&path, errno))?;
                if word.is_last || !matches!(word.what, Said::Nothing) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The directory that a link at `path` leads to; `None` when there is none.
    fn resolve(&self, path: &Path, to: &Path) -> Result<Option<PathBuf>, LayerError> {
        let mut at = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let mut left = Vec::new();
        add(&mut at, &mut left, to);
        let mut links = 1;
        while let Some(name) = left.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(name);
            match self.look(&next)? {
                Some(Seen::Directory { .. }) => at = next,
                Some(Seen::Link { to, .. }) if links < MAX_LINKS => {
                    links += 1;
                    add(&mut at, &mut left, &to);
                }
                Some(Seen::Link { .. }) | None => return Ok(None),
            }
        }
        Ok(Some(at).filter(|at| !at.as_os_str().is_empty()))
    }
}

/// Goes on with what a link says.
fn add(at: &mut PathBuf, left: &mut Vec<OsString>, to: &Path) {
    for part in to.components().rev() {
        match part {
            Component::Normal(name) => left.push(name.to_owned()),
            Component::ParentDir => left.push(OsString::from("..")),
            Component::RootDir => at.clear(),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

/// What a layer says of a path, and whether lower layers have no say.
struct Word {
    what: Said,
    is_last: bool,
}

fn say(root: &OwnedFd, told: &Told, path: &Path) -> rustix::io::Result<Word> {
    let mut is_last = false;
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        let what = Said::Nothing;
        return Ok(Word { what, is_last });
    };
    let mut at = enter(root.as_fd(), Path::new(""))?;
    let gone = |what| {
        Ok(Word {
            what,
            is_last: true,
        })
    };
    for part in above {
        is_last |= is_opaque_directory(&at)? || is_marked(&at, part)?;
        at = match enter(at.as_fd(), Path::new(part)) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                let what = Said::Nothing;
                return Ok(Word { what, is_last });
            }
            // A file, a link, or overlayfs' sign for what is gone.
            Err(Errno::NOTDIR | Errno::LOOP) => return gone(Said::Gone),
            Err(errno) => return Err(errno),
        };
    }
    is_last |= is_opaque_directory(&at)? || is_marked(&at, name)?;
    let stat = match statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {
            let what = Said::Nothing;
            return Ok(Word { what, is_last });
        }
        stat => stat?,
    };
    let what = match kind(&stat) {
        FileType::Directory => Said::Directory(stat, !told.implied.contains(path)),
        FileType::Symlink => {
            let to = readlinkat(&at, name, Vec::new())?;
            Said::Link(stat, PathBuf::from(OsString::from_vec(to.into_bytes())))
        }
        FileType::CharacterDevice if is_whiteout(&stat) => Said::Gone,
        FileType::RegularFile
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Said::Other,
    };
    Ok(Word { what, is_last })
}

/// Whether a file beside it says that a name of lower layers is gone.
fn is_marked(directory: &OwnedFd, name: &OsStr) -> rustix::io::Result<bool> {
    let mut mark = OsString::from(WHITEOUT_PREFIX);
    mark.push(name);
    match statat(directory, &mark, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
        Err(errno) => Err(errno),
    }
}

const fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Something of a layer, as an archive would say it.
fn entry(path: &Path, kind: Kind, stat: &Stat) -> Entry {
    Entry {
        path: path.to_owned(),
        kind,
        size: 0,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        xattrs: Vec::new(),
    }
}
