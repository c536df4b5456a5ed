//! Volumes that are kept by name (Docker's driver `local`): directories for whoever names them, until an operator removes
//! them. Nobody owns them; but for whom each was made is kept, so that no role takes all the room there is. All of this blocks on
//! the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{NAMED, Volumes, directories, sync, with};
use crate::sandbox;

/// Most that tasks of one role, and of those below it, make on one agent. Whoever may launch tasks may name new ones, and nothing
/// ever removes them by itself; machines have some.
pub(crate) const MAX_NAMED_OF_ROLE: usize = 1_000;

/// Most on one agent: of ten roles that have all theirs. A listing of so many is still looked through at once.
pub(crate) const MAX_NAMED: usize = 10_000;

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
        let mut all = names(&self.root.join(NAMED))?;
        all.sort();
        Ok(all)
    }

    /// Sees to it that a task of a role which names these makes no more than there may be, and notes for whom it makes them.
    ///
    /// # Errors
    /// Names the first that would be too many; or what the system says.
    pub(crate) fn have_room_for(&self, wanted: &[String], role: &str) -> io::Result<()> {
        let is_new = |name: &&String| !self.place_named(name).is_dir();
        let new: Vec<&String> = wanted.iter().filter(is_new).collect();
        let Some(first) = new.first() else {
            return Ok(());
        };
        let too_many = |bound: usize, of: &str| {
            io::Error::other(format!(
                "volume {first:?} would be one more than the {bound} that an agent keeps by name{of}; its operator may remove some"
            ))
        };
        if self.named()?.len() >= MAX_NAMED {
            return Err(too_many(MAX_NAMED, ""));
        }
        let role = role.split('/').next().unwrap_or_default();
        let notes = self.makers().join(role);
        directories(&notes)?;
        if names(&notes)?.len() + new.len() > MAX_NAMED_OF_ROLE {
            self.forget_unmade(&notes)?;
            if names(&notes)?.len() + new.len() > MAX_NAMED_OF_ROLE {
                let of = format!(" for role {role:?} and those below it");
                return Err(too_many(MAX_NAMED_OF_ROLE, &of));
            }
        }
        for name in new {
            let note = notes.join(name);
            fs::write(&note, "").map_err(|error| with(&note, &error))?;
        }
        Ok(())
    }

    /// Forgets for whom volumes were to be made that are not there: their tasks did not come so far.
    fn forget_unmade(&self, notes: &Path) -> io::Result<()> {
        for name in names(notes)? {
            if !self.place_named(&name).is_dir() {
                let note = notes.join(name);
                fs::remove_file(&note).map_err(|error| with(&note, &error))?;
            }
        }
        Ok(())
    }

    /// Where it is noted for whom volumes were made.
    pub(super) fn makers(&self) -> PathBuf {
        self.root.join("named-by")
    }

    /// The roles that volumes were made for, by their names; of those of earlier agents none is known.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn roles_of_named(&self) -> io::Result<BTreeMap<String, String>> {
        let mut roles = BTreeMap::new();
        for role in names(&self.makers())? {
            let made = names(&self.makers().join(&role))?.into_iter();
            roles.extend(made.map(|name| (name, role.clone())));
        }
        Ok(roles)
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
        sandbox::remove_tree(&aside).map_err(failed)?;
        for role in names(&self.makers()).map_err(failed)? {
            match fs::remove_file(self.makers().join(role).join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// What lies in a directory, in any order.
fn names(place: &Path) -> io::Result<Vec<String>> {
    let read = || {
        let mut names = Vec::new();
        for entry in fs::read_dir(place)? {
            names.extend(entry?.file_name().into_string());
        }
        io::Result::Ok(names)
    };
    read().map_err(|error| with(place, &error))
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

    fn wanted(volumes: &Volumes, role: &str, names: &[&str]) -> Result<(), String> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let room = volumes.have_room_for(&names, role);
        room.map_err(|error| error.to_string())
    }

    #[test]
    fn a_role_with_those_below_it_has_no_more_than_it_may_and_takes_nobodys_room() {
        let (_root, volumes) = with_volumes(&[]);
        for at in 0..MAX_NAMED_OF_ROLE {
            let (name, role) = (at.to_string(), format!("a/{at}"));
            wanted(&volumes, &role, &[&name]).unwrap();
            fs::create_dir(volumes.place_named(&name)).unwrap();
        }

        assert!(wanted(&volumes, "a", &["1", "7"]).is_ok(), "they are there");
        let refused = wanted(&volumes, "a/b", &["1", "new"]).unwrap_err();
        for part in ["volume \"new\" would be one more", "1000", "role \"a\""] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(wanted(&volumes, "b", &["new"]).is_ok());
        assert_eq!(volumes.roles_of_named().unwrap()["new"], "b");
        volumes.remove_named("3", || false).unwrap();
        assert!(wanted(&volumes, "a", &["1", "another"]).is_ok());
        // That was not made, so another has its room.
        assert!(wanted(&volumes, "a", &["third"]).is_ok());
    }

    #[test]
    fn an_agent_has_no_more_than_it_may() {
        let (_root, volumes) = with_volumes(&[]);
        for at in 0..MAX_NAMED {
            fs::create_dir(volumes.place_named(&at.to_string())).unwrap();
        }

        let refused = wanted(&volumes, "a", &["new"]).unwrap_err();

        assert!(refused.contains("the 10000 that an agent"), "{refused}");
        volumes.remove_named("3", || false).unwrap();
        assert!(wanted(&volumes, "a", &["new"]).is_ok());
    }
}
