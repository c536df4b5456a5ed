//! Places inside a container that is yet to be built: where they are, and whether they can be made.

use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::io::Errno;

use crate::container::paths;
use crate::report::Fault;

/// Symbolic links on one path: the kernel's own bound.
const MAX_LINKS: u32 = 40;

/// Where an absolute path of the container leads whose root is seen at `root`, by no symbolic link. What is not there may be
/// made.
pub(super) fn resolve(root: &str, path: &str) -> Result<String, Errno> {
    let mut waiting = vec![PathBuf::from(path)];
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    while let Some(rest) = waiting.pop() {
        let mut parts = rest.components();
        let Some(part) = parts.next() else { continue };
        waiting.push(parts.as_path().to_owned());
        match part {
            Component::RootDir | Component::Prefix(_) => resolved = PathBuf::from("/"),
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => {
                resolved.push(name);
                let seen = below(root, &resolved);
                let found = statat(CWD, &seen, AtFlags::SYMLINK_NOFOLLOW);
                let is_link = found
                    .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink);
                if is_link {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let leads_to = readlinkat(CWD, &seen, Vec::new())?;
                    let leads_to = leads_to.into_string().map_err(|_| Errno::ILSEQ)?;
                    resolved.pop();
                    waiting.push(leads_to.into());
                }
            }
        }
    }
    resolved
        .into_os_string()
        .into_string()
        .map_err(|_| Errno::ILSEQ)
}

fn below(root: &str, path: &Path) -> PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

/// The root, and what is the kernel's own, stay what they are. The path is a resolved one.
pub(super) fn may_be_covered(path: &str) -> Result<(), Fault> {
    let top = path.split('/').find(|part| !part.is_empty());
    match top {
        None | Some("proc" | "sys") => Err(Fault::of(path)(Errno::PERM)),
        Some(_) => Ok(()),
    }
}

/// Which directories of the machine's root, which can only be read, memory is to be put on, so that places below them can
/// be made: they are empty because nothing is mounted on them there. `covered`: what looks empty already.
///
/// A place that cannot be made is refused here: a runtime would make it, and on the disk of the machine.
pub(super) fn missing<'a>(
    root: &str,
    covered: &'a [String],
    wanted: impl Iterator<Item = &'a String>,
) -> Result<Vec<String>, Fault> {
    let mut covered: Vec<&str> = covered.iter().map(String::as_str).collect();
    let mut all: Vec<String> = Vec::new();
    for place in wanted {
        let within = |above: &str| Path::new(place).starts_with(above);
        let can_be_made =
            covered.iter().any(|above| within(above)) || all.iter().any(|above| within(above));
        covered.push(place);
        let seen = below(root, Path::new(place));
        let seen = seen.to_string_lossy();
        if can_be_made || paths::is_there(&seen) {
            continue;
        }
        let empty = paths::empty_above(&seen).and_then(|above| above.strip_prefix(root));
        match empty.filter(|empty| empty.starts_with('/')) {
            Some(empty) => all.push(empty.to_owned()),
            None => return Err(Fault::of(place.as_str())(Errno::ROFS)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_but_into_the_root() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a/b")).expect("is mine");
        for (link, leads_to) in [
            ("kernel", "/proc/self"),
            ("a/up", "../../../etc"),
            ("a/new", "b/made/later"),
            ("loop", "loop"),
        ] {
            symlink(leads_to, root.path().join(link)).expect("is mine");
        }
        let root = root.path().to_str().expect("text");

        let resolved = |path| resolve(root, path).map_err(|errno| errno.raw_os_error());

        for (path, leads_to) in [
            ("/kernel", "/proc/self"),
            ("/kernel/x", "/proc/self/x"),
            ("/a/up/passwd", "/etc/passwd"),
            ("/a/new/x", "/a/b/made/later/x"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
        ] {
            assert_eq!(resolved(path), Ok(leads_to.to_owned()), "{path}");
        }
        assert_eq!(resolved("/loop/x"), Err(Errno::LOOP.raw_os_error()));
    }

    #[test]
    fn nothing_is_put_over_the_root_or_the_kernels_own() {
        for bad in ["/", "/proc", "/proc/sys", "/sys/x"] {
            assert!(may_be_covered(bad).is_err(), "{bad}");
        }
        for fine in ["/a", "/process", "/dev/shm/x"] {
            assert!(may_be_covered(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn what_cannot_be_made_on_a_root_that_is_only_read_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("empty")).expect("is mine");
        fs::create_dir_all(root.path().join("full/there")).expect("is mine");
        let root = root.path().to_str().expect("text");
        let missing = |covered: &[&str], wanted: &[&str]| {
            let text = |words: &[&str]| -> Vec<String> {
                words.iter().map(|&word| word.to_owned()).collect()
            };
            super::missing(root, &text(covered), text(wanted).iter()).map_err(|fault| fault.what)
        };

        let made = missing(
            &["/hidden"],
            &["/hidden/a", "/empty/x/y", "/empty/z", "/full/there"],
        );
        assert_eq!(made, Ok(vec!["/empty".to_owned()]));
        let within = missing(&[], &["/full/there", "/full/there/new"]);
        assert_eq!(within, Ok(vec![]), "what is mounted first holds it");
        for bad in ["/new", "/full/new"] {
            assert_eq!(missing(&[], &[bad]), Err(bad.to_owned()));
        }
    }
}
