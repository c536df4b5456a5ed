//! What secrets of tasks hold: files that only their users read.
//!
//! ```text
//! <work directory>/secrets/<container>/<n>     0400, of the task's user; n: the mount of its container that shows it
//! ```
//! They lie in no sandbox, so nobody browses them, and the store knows no more of them than that there are some. They are
//! written with the launch and go with what else the task held; those of tasks that the store does not know go at the start.
//! All of this blocks on the disk.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use mete_agent_core::task_dir::User;
use mete_model::ContainerId;
use mete_model::container::SecretValue;

use crate::sandbox;

/// The task's user reads it, and nobody writes it.
const SECRET_MODE: u32 = 0o400;
/// Directories above secrets: passed through on the way, listed by the agent only.
const ABOVE_MODE: u32 = 0o711;

/// The secrets of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    root: PathBuf,
}

impl Secrets {
    /// Makes the directory above all secrets if need be. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        let secrets = Self { root };
        directory(&secrets.root)?;
        Ok(secrets)
    }

    /// Where those of a task lie, there or not.
    pub(crate) fn of(&self, container: &ContainerId) -> PathBuf {
        self.root.join(container.as_str())
    }

    /// Writes one of a task: that which its mount `at` shows. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn write(
        &self,
        container: &ContainerId,
        at: usize,
        value: &SecretValue,
        owner: Option<&User>,
    ) -> io::Result<PathBuf> {
        let above = self.of(container);
        directory(&above)?;
        let place = above.join(at.to_string());
        let written = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(SECRET_MODE)
                .open(&place)?;
            file.write_all(value.bytes())?;
            match owner {
                Some(user) => chown(&place, Some(user.uid), Some(user.gid)),
                None => Ok(()),
            }
        };
        written().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", place.display()))
        })?;
        Ok(place)
    }

    /// Removes those of a task; none is fine. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn remove(&self, container: &ContainerId) -> io::Result<()> {
        sandbox::remove_tree(&self.of(container))
    }

    /// Removes those of every task that is not among `known`; returns whose they were. Blocks.
    ///
    /// # Errors
    /// What the system says; of several that stay, of the last.
    pub(crate) fn remove_strays(&self, known: &BTreeSet<String>) -> io::Result<Vec<String>> {
        let (mut removed, mut last) = (Vec::new(), None);
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if known.contains(&name) {
                continue;
            }
            match sandbox::remove_tree(&self.root.join(&name)) {
                Ok(()) => removed.push(name),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(removed), Err)
    }
}

/// Makes it if need be, with its mode whatever the agent's umask takes from others.
fn directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(ABOVE_MODE).create(path);
    let made = made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(ABOVE_MODE)));
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_secret_is_for_its_user_alone_and_goes_with_its_task() {
        let work = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::open(work.path().join("secrets")).expect("opens");
        let (one, other) = (ContainerId::new("one"), ContainerId::new("other"));
        let (one, other) = (one.expect("good"), other.expect("good"));
        let value = SecretValue::new(*b"hunter2\n");

        let place = secrets.write(&one, 3, &value, None).expect("written");
        let stray = secrets.write(&other, 0, &value, None).expect("written");

        assert_eq!(fs::read(&place).expect("read"), b"hunter2\n");
        assert_eq!(place.metadata().expect("there").mode() & 0o777, 0o400);
        let known = BTreeSet::from(["one".to_owned()]);
        let removed = secrets.remove_strays(&known).expect("looked through");
        assert_eq!(removed, ["other"]);
        assert!(place.exists() && !stray.exists());
        secrets.remove(&one).expect("removed");
        secrets.remove(&one).expect("none is fine");
        assert!(!place.exists());
    }

    #[test]
    fn one_stray_that_stays_keeps_no_other() {
        let work = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::open(work.path().join("secrets")).expect("opens");
        let value = SecretValue::new(*b"hunter2\n");
        let mut strays = Vec::new();
        for n in 0..8 {
            let no_directory = work.path().join(format!("secrets/file-{n}"));
            fs::write(no_directory, "").expect("written");
            let stray = ContainerId::new(format!("stray-{n}")).expect("good");
            strays.push(secrets.write(&stray, 0, &value, None).expect("written"));
        }

        let error = secrets.remove_strays(&BTreeSet::new()).expect_err("stays");

        assert!(error.to_string().contains("/secrets/file-"), "{error}");
        assert!(strays.iter().all(|stray| !stray.exists()));
    }

    #[test]
    fn the_way_to_a_secret_is_open_to_its_user_whatever_the_umask() {
        let work = tempfile::tempdir().expect("a directory");
        let root = work.path().join("secrets");
        let as_under_umask_077 = Permissions::from_mode(0o700);
        fs::create_dir(&root).expect("made");
        fs::set_permissions(&root, as_under_umask_077.clone()).expect("set");
        let one = ContainerId::new("one").expect("good");
        fs::create_dir(root.join("one")).expect("made");
        fs::set_permissions(root.join("one"), as_under_umask_077).expect("set");

        let secrets = Secrets::open(root.clone()).expect("opens");
        let value = SecretValue::new(*b"hunter2\n");
        secrets.write(&one, 0, &value, None).expect("written");

        for directory in [root.clone(), root.join("one")] {
            let mode = directory.metadata().expect("there").mode();
            assert_eq!(mode & 0o777, 0o711, "{}", directory.display());
        }
    }
}
