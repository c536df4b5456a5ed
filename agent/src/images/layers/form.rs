//! How an unpacked layer says that something of a lower layer is gone.
//!
//! | form | a name is gone | all in a directory is gone |
//! |---|---|---|
//! | [`Form::Overlay`] | character device 0:0 of that name | `trusted.overlay.opaque` = `y` on it |
//! | [`Form::Files`] | empty file `.wh.<name>` | empty file `.wh..wh..opq` in it |
//!
//! The first is what overlayfs reads; it needs root and a file system that carries it. The second is how images
//! themselves say it, and is only good for copying. One store has one form: found out once, then written down.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Stat, XattrFlags, fgetxattr, mknodat, setxattr, statat,
};
use rustix::io::Errno;

use crate::sandbox::remove_tree;

/// Before the name that is gone.
pub(super) const WHITEOUT_PREFIX: &str = ".wh.";
/// The name that hides all of its directory.
pub(super) const OPAQUE_FILE: &str = ".wh..wh..opq";
/// Before names that a union file system of old kept for itself.
pub(super) const INTERNAL_PREFIX: &str = ".wh..wh.";
/// The attribute that hides all below a directory.
pub(super) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// How layers say what is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::images) enum Form {
    /// As overlayfs reads it.
    Overlay,
    /// As images say it.
    Files,
}

impl Form {
    /// What is possible in a directory; tried, not guessed. Blocks.
    ///
    /// # Errors
    /// When nothing can be written there at all.
    pub(in crate::images) fn possible_in(directory: &Path) -> io::Result<Self> {
        let probe = directory.join("form-probe");
        remove_tree(&probe)?;
        fs::DirBuilder::new().mode(0o700).create(&probe)?;
        let device = mknodat(
            CWD,
            probe.join("gone"),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        );
        let mark = setxattr(&probe, OPAQUE_XATTR, b"y", XattrFlags::empty());
        remove_tree(&probe)?;
        Ok(match (device, mark) {
            (Ok(()), Ok(())) => Self::Overlay,
            (Ok(()) | Err(_), _) => Self::Files,
        })
    }

    /// Its name in the store.
    pub(in crate::images) const fn as_str(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Files => "files",
        }
    }

    /// The form of that name.
    pub(in crate::images) fn parse(text: &str) -> Option<Self> {
        [Self::Overlay, Self::Files]
            .into_iter()
            .find(|form| form.as_str() == text)
    }
}

/// Whether something is overlayfs' sign that a name is gone.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether an open directory hides all that lower layers have in it, in either form.
pub(super) fn is_opaque_directory(directory: impl AsFd) -> rustix::io::Result<bool> {
    if statat(&directory, OPAQUE_FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(true);
    }
    let mut value = [0; 1];
    match fgetxattr(directory, OPAQUE_XATTR, &mut value[..]) {
        Ok(count) => Ok(count == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}
