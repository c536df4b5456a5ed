//! Persistent volumes: directories that outlive tasks.
//!
//! ```text
//! <work directory>/volumes/roles/<role>/<id>     0750, of the user of the task that holds it
//!                         /making/               half made: emptied at each start
//!                         /named/<name>          kept for whoever names it (Docker's driver `local`)
//!                         /named-by/<role>/<name>   for whom it was made, a role without those below it
//! ```
//! A role is one component: its slashes become spaces, which no role holds (Mesos does the same).
//!
//! A volume is made when the first task comes that holds it, and appears whole, with its owner. It goes with DESTROY only:
//! the core has stored that it is to go before anything is removed, so that what is half erased is given to nobody and
//! erased on after a restart. All of this blocks on the disk.

mod named; // those that are kept by name

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Component, Path, PathBuf};

use mete_agent_core::task_dir::User;
use mete_model::{ContainerId, Resources, VolumeName};
use rustix::fs::{
    CWD, Gid, Mode, OFlags, RenameFlags, Uid, fchown, mkdirat, openat, renameat_with, symlinkat,
};
use rustix::io::Errno;

use crate::sandbox;
pub(crate) use named::RemoveError;

/// The directory of volumes that are kept by name.
pub(crate) const NAMED: &str = "named";
/// What its user and group may do with a volume; nobody else anything.
const VOLUME_MODE: u32 = 0o750;
/// Directories above volumes: passed through on the way, listed by the agent only.
const ABOVE_MODE: u32 = 0o711;

/// A volume that a task holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) name: VolumeName,
    /// Where the task wants it: relative paths are below its sandbox.
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) shared: bool,
}

/// The volumes among resources, which a task or an executor holds.
pub(crate) fn held_by(resources: &Resources) -> Vec<Held> {
    let held = resources.volumes().filter_map(|(name, tag, _)| {
        let volume = tag.volume.as_ref()?;
        Some(Held {
            name,
            target: volume.container_path.clone(),
            read_only: volume.read_only,
            shared: tag.shared,
        })
    });
    held.collect()
}

/// The volumes of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    root: PathBuf,
}

impl Volumes {
    /// Makes the directories above all volumes if need be, and removes what was half made. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        let volumes = Self { root };
        let making = volumes.making();
        sandbox::remove_tree(&making)?;
        directories(&making)?;
        directories(&volumes.roles())?;
        directories(&volumes.root.join(NAMED))?;
        directories(&volumes.makers())?;
        Ok(volumes)
    }

    fn making(&self) -> PathBuf {
        self.root.join("making")
    }

    fn roles(&self) -> PathBuf {
        self.root.join("roles")
    }

    /// Where a volume lies, there or not.
    pub(crate) fn place(&self, name: &VolumeName) -> PathBuf {
        let role = name.role().as_str().replace('/', " ");
        self.roles().join(role).join(name.id())
    }

    /// Sees to it that a volume is there and, unless others may be using it, belongs to who is to use it. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn ready(
        &self,
        held: &Held,
        container: &ContainerId,
        owner: Option<&User>,
    ) -> io::Result<PathBuf> {
        let place = self.place(&held.name);
        let with_path = |error: io::Error| with(&place, &error);
        let found = match fs::symlink_metadata(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(&place, container, owner)?;
                fs::symlink_metadata(&place).map_err(with_path)?
            }
            found => found.map_err(with_path)?,
        };
        if !found.is_dir() {
            return Err(with_path(io::ErrorKind::NotADirectory.into()));
        }
        if let Some(user) = owner.filter(|_| !held.shared)
            && (found.uid(), found.gid()) != (user.uid, user.gid)
        {
            chown(&place, Some(user.uid), Some(user.gid)).map_err(with_path)?;
        }
        Ok(place)
    }

    /// Makes a volume aside, so that it appears whole. Somebody who was faster is fine.
    fn make(&self, place: &Path, container: &ContainerId, owner: Option<&User>) -> io::Result<()> {
        let above = place.parent().unwrap_or(place);
        directories(above)?;
        let aside = self.making().join(container.as_str());
        sandbox::remove_tree(&aside)?;
        let with_path = |error: io::Error| with(&aside, &error);
        let mut builder = fs::DirBuilder::new();
        builder.mode(VOLUME_MODE);
        builder.create(&aside).map_err(with_path)?;
        if let Some(user) = owner {
            chown(&aside, Some(user.uid), Some(user.gid)).map_err(with_path)?;
        }
        match renameat_with(CWD, &aside, CWD, place, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => sandbox::remove_tree(&aside),
            done => {
                done.map_err(|errno| with(place, &errno.into()))?;
                // What a task is told to have must be there after the machine has lost its power.
                sync(above)?;
                sync(above.parent().unwrap_or(above))
            }
        }
    }

    /// Removes a volume with all that is on it; one that is not there is fine. What is gone does not come back when the
    /// machine loses its power. Blocks.
    ///
    /// # Errors
    /// What the system says, with the path; a part may be gone by then.
    pub(crate) fn erase(&self, name: &VolumeName) -> io::Result<()> {
        let place = self.place(name);
        sandbox::remove_tree(&place)?;
        let Some(above) = place.parent().filter(|above| above.is_dir()) else {
            return Ok(());
        };
        sync(above)
    }
}

/// Lets a path in a sandbox lead to a volume, for a task that sees the files of the machine. On the way no link is followed:
/// a task before may have put one on a volume. Blocks.
///
/// # Errors
/// Says why it cannot be had without a container, or what the system says.
pub(crate) fn link(
    held: &Held,
    place: &Path,
    sandbox: &Path,
    owner: Option<&User>,
) -> io::Result<()> {
    let what = format!("volume {}", held.name);
    if held.read_only {
        return refused(
            &what,
            "to be read only it needs a container around the task",
        );
    }
    link_at(&what, &held.target, place, sandbox, owner)
}

fn refused(what: &str, why: &str) -> io::Result<()> {
    let text = format!("{what}: {why}");
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// The same for anything that lies elsewhere; `what` it is, is for people. Blocks.
///
/// # Errors
/// As [`link`].
pub(crate) fn link_at(
    what: &str,
    target: &str,
    place: &Path,
    sandbox: &Path,
    owner: Option<&User>,
) -> io::Result<()> {
    let target = Path::new(target);
    if target.is_absolute() {
        let why = format!(
            "{} is outside of the sandbox, which needs a container around the task",
            target.display()
        );
        return refused(what, &why);
    }
    let mut names = Vec::new();
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return refused(what, "its path leads out of the sandbox");
            }
        }
    }
    let mut at = sandbox.to_owned();
    let mut above = directory_at(CWD, &at).map_err(|errno| with(&at, &errno.into()))?;
    let mut parts = names.into_iter().peekable();
    while let Some(name) = parts.next() {
        at.push(name);
        let made = match parts.peek() {
            Some(_) => step_into(&above, Path::new(name), owner).map(|below| above = below),
            None => symlinkat(place, &above, name),
        };
        made.map_err(|errno| with(&at, &errno.into()))?;
    }
    Ok(())
}

/// A directory itself: a link to one is none. What is held open stays what it is, whatever takes its name.
fn directory_at(above: impl AsFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

/// The directory of this name, made for its owner when there is none. One that is there is whose it was: a task may have
/// put it on a volume.
fn step_into(above: &OwnedFd, name: &Path, owner: Option<&User>) -> rustix::io::Result<OwnedFd> {
    match mkdirat(above, name, Mode::from_raw_mode(VOLUME_MODE)) {
        Err(Errno::EXIST) => return directory_at(above, name),
        made => made?,
    }
    let below = directory_at(above, name)?;
    if let Some(user) = owner {
        fchown(
            &below,
            Some(Uid::from_raw(user.uid)),
            Some(Gid::from_raw(user.gid)),
        )?;
    }
    Ok(below)
}

fn directories(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(ABOVE_MODE)
        .create(path)
        .map_err(|error| with(path, &error))
}

fn sync(path: &Path) -> io::Result<()> {
    let done = fs::File::open(path).and_then(|directory| directory.sync_all());
    done.map_err(|error| with(path, &error))
}

fn with(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use mete_model::Role;

    use super::*;

    fn held(role: &str, target: &str) -> Held {
        Held {
            name: VolumeName::new(Role::new(role).expect("good"), "data").expect("good"),
            target: target.to_owned(),
            read_only: false,
            shared: false,
        }
    }

    fn container() -> ContainerId {
        "c-1".parse().expect("good")
    }

    #[test]
    fn a_volume_keeps_what_is_on_it_until_it_is_erased() {
        let directory = tempfile::tempdir().expect("a directory");
        let volumes = Volumes::open(directory.path().join("volumes")).expect("opens");
        let held = held("prod/web", "data");

        let place = volumes.ready(&held, &container(), None).expect("made");
        fs::write(place.join("kept"), "1").expect("written");
        let volumes = Volumes::open(directory.path().join("volumes")).expect("opens again");
        let again = volumes.ready(&held, &container(), None).expect("there");
        let kept = fs::read_to_string(again.join("kept")).expect("kept");
        volumes.erase(&held.name).expect("erased");
        volumes.erase(&held.name).expect("erased before");

        assert_eq!(
            place,
            directory.path().join("volumes/roles/prod web/data"),
            "one component for the role"
        );
        assert_eq!((place, kept.as_str()), (again, "1"));
        let left = fs::read_dir(directory.path().join("volumes/roles/prod web")).expect("listed");
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn what_was_half_made_is_removed_at_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let half = directory.path().join("making/c-1");
        fs::create_dir_all(half.join("x")).expect("made");

        Volumes::open(directory.path().to_owned()).expect("opens");

        assert!(!half.exists());
    }

    #[test]
    fn a_link_leads_from_the_sandbox_to_the_volume() {
        let directory = tempfile::tempdir().expect("a directory");
        let (place, sandbox) = (directory.path().join("v"), directory.path().join("s"));
        fs::create_dir(&place).expect("made");
        fs::create_dir(&sandbox).expect("made");

        link(&held("a", "./var/lib/db/"), &place, &sandbox, None).expect("linked");

        let found = fs::read_link(sandbox.join("var/lib/db")).expect("a link");
        assert_eq!(found, place);
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let [place, sandbox, other] = ["v", "s", "o"].map(|name| directory.path().join(name));
        for made in [&place, &sandbox, &other] {
            fs::create_dir(made).expect("made");
        }
        std::os::unix::fs::symlink(&other, sandbox.join("data")).expect("linked");

        for target in ["data/db", "data/sub/db"] {
            let error = link(&held("a", target), &place, &sandbox, None).expect_err("refused");
            let path = sandbox.join("data").display().to_string();
            assert!(error.to_string().starts_with(&path), "{error}");
        }

        assert_eq!(fs::read_dir(&other).expect("listed").count(), 0);
    }

    #[test]
    fn what_needs_a_container_is_said() {
        let sandbox = Path::new("/nowhere");
        let refused = |held: &Held| {
            let error = link(held, sandbox, sandbox, None).expect_err("refused");
            error.to_string()
        };

        let absolute = refused(&held("a", "/data"));
        let out = refused(&held("a", "../data"));
        let mut read_only = held("a", "data");
        read_only.read_only = true;

        assert_eq!(
            absolute,
            "volume a: data: /data is outside of the sandbox, which needs a container around the task"
        );
        assert_eq!(out, "volume a: data: its path leads out of the sandbox");
        assert_eq!(
            refused(&read_only),
            "volume a: data: to be read only it needs a container around the task"
        );
    }
}
