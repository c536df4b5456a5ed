//! Paths of the machine that a container is to see, looked at, and made, before anything is mounted.
//!
//! The engine takes paths and follows links. So a path below a root of the operator, or below the sandbox, must be free
//! of links when the container is made; what the sandbox holds then was fetched, and no program of the task has run.

use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

/// The absolute path of `below` in `root`, which is trusted; made, a directory, when it is not there and `make` is set.
/// Blocks.
///
/// # Errors
/// A sentence that names the path: it is not there, or there is a link in it.
pub(crate) fn path(root: &Path, below: &str, make: bool) -> Result<String, String> {
    let whole = root.join(below);
    let failed = |errno: Errno| match errno {
        Errno::LOOP | Errno::XDEV => format!(
            "volume {}: symbolic links on the way are not followed",
            whole.display()
        ),
        other => {
            let error = std::io::Error::from(other);
            format!("volume {}: {error}", whole.display())
        }
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut open = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty());
    for part in below.split('/').filter(|part| !part.is_empty()) {
        let parent = open.map_err(failed)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let look = || openat2(&parent, part, flags, Mode::empty(), resolve);
        open = match look() {
            Err(Errno::NOENT) if make => {
                mkdirat(&parent, part, Mode::from_raw_mode(0o755)).map_err(failed)?;
                look()
            }
            found => found,
        };
    }
    open.map_err(failed)?;
    let text = whole.to_str().map(str::to_owned);
    text.ok_or_else(|| format!("volume {}: the path is not UTF-8", whole.display()))
}

/// Makes a directory below `root` where there is nothing at all, as `docker run -v` does: root's, 0755. Blocks.
///
/// # Errors
/// As [`path`].
pub(crate) fn make_missing(root: &Path, below: &str) -> Result<(), String> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())
        .and_then(|root| openat2(&root, below, flags, Mode::empty(), resolve));
    match found {
        Err(Errno::NOENT) if !below.is_empty() => path(root, below, true).map(drop),
        // What else is wrong is told by whoever mounts it.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere_and_directories_are_made_only_when_asked_for() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();

        let made = path(root.path(), "a/b", true).unwrap();
        assert!(Path::new(&made).is_dir());
        make_missing(root.path(), "b/c").unwrap();
        assert!(root.path().join("b/c").is_dir());
        std::os::unix::fs::symlink("a", root.path().join("other")).unwrap();
        make_missing(root.path(), "other/b").unwrap();
        let refused = make_missing(root.path(), "other/c").unwrap_err();
        assert!(refused.contains("symbolic links"), "{refused}");
        let refused = path(root.path(), "link/x", true).unwrap_err();
        assert!(refused.contains("symbolic links"), "{refused}");
        let refused = path(root.path(), "..", false).unwrap_err();
        assert!(refused.contains("symbolic links"), "{refused}");
        let missing = path(root.path(), "nothing", false).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
