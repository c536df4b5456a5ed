//! Volumes that are kept by name (Docker's driver `local`): directories for whoever names them, until an operator removes
//! them. All of this blocks on the disk.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{NAMED, Volumes, sync, with};
use crate::sandbox;

/// Most on one agent. Whoever may launch tasks may name new ones, and nothing ever removes them by itself; machines have some,
/// and a listing of so many is still looked through at once.
pub(crate) const MAX_NAMED: usize = 1_000;

/// Why one is not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    /// There is none of this name.
    #[error("no volume is kept by the name {0:?}")]
    Unknown(String),
    /// A task that is not over names it.
    #[error("volume {0:?} is in use")]
    InUse(String),
    /// What the system says.
    #[error("volume {name:?} cannot be removed")]
    Io {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Volumes {
    /// Where one lies, there or not.
    pub(crate) fn place_named(&self, name: &str) -> PathBuf {
        self.root.join(NAMED).join(name)
    }

    /// All there are, in order.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn named(&self) -> io::Result<Vec<String>> {
        let place = self.root.join(NAMED);
        let read = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&place)? {
                names.extend(entry?.file_name().into_string());
            }
            io::Result::Ok(names)
        };
        let mut names = read().map_err(|error| with(&place, &error))?;
        names.sort();
        Ok(names)
    }

    /// Sees to it that a task which names these makes no more than there may be.
    ///
    /// # Errors
    /// Names the first that would be too many; or what the system says.
    pub(crate) fn have_room_for(&self, wanted: &[String]) -> io::Result<()> {
        let mut new = wanted.iter();
        let new = new.find(|name| !self.place_named(name).is_dir());
        match new {
            Some(new) if self.named()?.len() >= MAX_NAMED => Err(io::Error::other(format!(
                "volume {new:?} would be one more than the {MAX_NAMED} that an agent keeps by name; its operator may remove some"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Removes one with all that is on it, unless it is in use. Out of sight first, then asked once more: whoever came
    /// meanwhile has it back.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub(crate) fn remove_named(
        &self,
        name: &str,
        is_in_use: impl Fn() -> bool,
    ) -> Result<(), RemoveError> {
        let failed = |source: io::Error| RemoveError::Io {
            name: name.to_owned(),
            source,
        };
        if !self.named().map_err(failed)?.iter().any(|one| one == name) {
            return Err(RemoveError::Unknown(name.to_owned()));
        }
        let in_use = || RemoveError::InUse(name.to_owned());
        if is_in_use() {
            return Err(in_use());
        }
        let place = self.place_named(name);
        let aside = self.making().join(format!("{NAMED} {name}"));
        let no_other = RenameFlags::NOREPLACE;
        let moved = renameat_with(CWD, &place, CWD, &aside, no_other);
        moved.map_err(|errno| failed(errno.into()))?;
        if is_in_use() {
            match renameat_with(CWD, &aside, CWD, &place, no_other) {
                // It has made one of its own already, and never saw this.
                Err(Errno::EXIST) => {}
                back => {
                    back.map_err(|errno| failed(errno.into()))?;
                    return Err(in_use());
                }
            }
        }
        sync(&self.root.join(NAMED)).map_err(failed)?;
        sandbox::remove_tree(&aside).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn with_volumes(names: &[&str]) -> (tempfile::TempDir, Volumes) {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(root.path().join("volumes")).unwrap();
        for name in names {
            fs::create_dir(volumes.place_named(name)).unwrap();
            fs::write(volumes.place_named(name).join("file"), "x").unwrap();
        }
        (root, volumes)
    }

    #[test]
    fn what_nobody_uses_is_removed_and_what_is_not_there_is_said() {
        let (_root, volumes) = with_volumes(&["a", "b"]);

        volumes.remove_named("a", || false).unwrap();

        assert_eq!(volumes.named().unwrap(), ["b"]);
        for name in ["a", "..", "", "b/.."] {
            let refused = volumes.remove_named(name, || false).unwrap_err();
            assert!(matches!(refused, RemoveError::Unknown(_)), "{name}");
        }
        assert_eq!(fs::read_dir(volumes.making()).unwrap().count(), 0);
    }

    #[test]
    fn who_comes_while_it_is_removed_has_it_back() {
        let (_root, volumes) = with_volumes(&["a"]);
        let asked = Cell::new(0);
        let comes_late = || asked.replace(asked.get() + 1) > 0;

        let refused = volumes.remove_named("a", comes_late).unwrap_err();

        assert!(matches!(refused, RemoveError::InUse(_)));
        assert!(volumes.place_named("a").join("file").exists());
    }

    #[test]
    fn there_are_no_more_than_may_be() {
        let (_root, volumes) = with_volumes(&[]);
        for at in 0..MAX_NAMED {
            fs::create_dir(volumes.place_named(&at.to_string())).unwrap();
        }
        let wanted = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            volumes.have_room_for(&names)
        };

        assert!(wanted(&["1", "7"]).is_ok(), "they are there");
        let refused = wanted(&["1", "new"]).unwrap_err().to_string();
        assert!(
            refused.starts_with("volume \"new\" would be one more"),
            "{refused}"
        );
        volumes.remove_named("3", || false).unwrap();
        assert!(wanted(&["1", "new"]).is_ok());
    }
}
