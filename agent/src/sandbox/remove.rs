//! Removing a directory tree that a task has made, whatever it has made of it.
//!
//! No link is followed, no mount is crossed, and neither the depth of the tree nor the number of its
//! files costs memory or descriptors: what lies too deep is moved up to the top and comes later.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;

/// Directories that are open at once on the way down.
const MAX_DEPTH: usize = 64;

/// Removes a directory and everything in it on a thread of its own; one that is gone is fine.
///
/// # Errors
/// As [`remove_tree`].
pub async fn remove(path: PathBuf) -> io::Result<()> {
    match tokio::task::spawn_blocking(move || remove_tree(&path)).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Removes a directory and everything in it; one that is gone is fine. Blocks.
///
/// # Errors
/// What the system says, for example for a mount inside; the rest may be gone by then.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not removed", path.display()),
        ));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = CString::new(name.as_encoded_bytes())?;
    let emptied = match rustix::fs::open(above, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => Err(errno),
        Ok(above) => match enter(above.as_fd(), &name) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => Err(errno),
            Ok(top) => {
                let mut moved = 0;
                let emptied = empty(top.as_fd(), top.as_fd(), 0, &mut moved);
                emptied.and_then(|()| unlinkat(&above, &name, AtFlags::REMOVEDIR))
            }
        },
    };
    emptied.map_err(|errno| {
        io::Error::new(
            io::Error::from(errno).kind(),
            format!("{}: {errno}", path.display()),
        )
    })
}

/// Opens a directory right below another one, on the same mount, not through a link.
fn enter(above: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(above, name.as_c_str(), flags, Mode::empty(), how)
}

/// Moves a directory to the top, under a name that is free.
fn move_up(
    from: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> Result<(), Errno> {
    loop {
        *moved += 1;
        match renameat_with(
            from,
            name,
            top,
            format!(".mete-too-deep-{moved}"),
            RenameFlags::NOREPLACE,
        ) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
    }
}

/// Removes everything in a directory. Looks again until there is nothing, since what was too deep
/// turns up at the top.
fn empty(
    directory: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    depth: usize,
    moved: &mut u64,
) -> Result<(), Errno> {
    loop {
        let mut found_any = false;
        for found in Dir::read_from(directory)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            found_any = true;
            match unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
            if depth >= MAX_DEPTH && unlinkat(directory, name, AtFlags::REMOVEDIR).is_err() {
                move_up(directory, name, top, moved)?;
                continue;
            }
            let name = name.to_owned();
            match enter(directory, &name) {
                Ok(below) => empty(below.as_fd(), top, depth + 1, moved)?,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            }
            unlinkat(directory, &name, AtFlags::REMOVEDIR)?;
        }
        if !found_any {
            return Ok(());
        }
    }
}
