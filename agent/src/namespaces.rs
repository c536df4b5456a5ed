//! Networks with a loopback and nothing else that tasks of a group share: network namespaces held by a file each, so that
//! they need no process and outlive the agent.
//!
//! ```text
//! <work directory>/namespaces/<container of the executor>     a mount of the namespace
//! ```
//! Such a network goes with its executor; what belongs to none goes at the start of an
//! agent. A boot leaves empty files behind, which are mounted upon again or go. All of this blocks.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mete_model::ContainerId;
use rustix::fs::statfs;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::shims::Executable;

/// The file system of namespaces: `NSFS_MAGIC` of linux/magic.h.
const NAMESPACES_MAGIC: i64 = 0x6e73_6673;

/// The namespaces of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    root: PathBuf,
    shim: Arc<Executable>,
    /// Two tasks of a group may come at once.
    making: Arc<Mutex<()>>,
}

impl Namespaces {
    /// Namespaces below `root`, which is made when the first one is; `shim` makes them.
    pub(crate) fn new(root: PathBuf, shim: Arc<Executable>) -> Self {
        Self {
            root,
            shim,
            making: Arc::default(),
        }
    }

    /// The file of an executor's namespace, made if need be.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn ready(&self, container: &ContainerId) -> io::Result<PathBuf> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.root.join(container.as_str());
        if is_namespace(&file) {
            return Ok(file);
        }
        let with_path =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        fs::create_dir_all(&self.root).map_err(with_path)?;
        fs::write(&file, b"").map_err(with_path)?;
        self.shim
            .make_network(&file)
            .map_err(|why| io::Error::other(format!("a network of its own: {why}")))?;
        Ok(file)
    }

    /// Removes the namespace of an executor; tasks that still see it keep it. One that is not there is fine.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn remove(&self, container: &ContainerId) -> io::Result<()> {
        remove(&self.root.join(container.as_str()))
    }

    /// Removes what belongs to no executor; the names.
    ///
    /// # Errors
    /// When the directory cannot be read, or one cannot be removed.
    pub(crate) fn remove_strays(&self, known: &BTreeSet<String>) -> io::Result<Vec<String>> {
        let names = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let names = names.flatten().map(|entry| entry.file_name());
        let mut strays: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        strays.retain(|name| !known.contains(name));
        for name in &strays {
            remove(&self.root.join(name))?;
        }
        Ok(strays)
    }
}

#[allow(
    clippy::useless_conversion,
    reason = "the kind of a file system has 32 bits on some architectures"
)]
fn is_namespace(file: &Path) -> bool {
    statfs(file).is_ok_and(|found| i64::from(found.f_type) == NAMESPACES_MAGIC)
}

fn remove(file: &Path) -> io::Result<()> {
    let with_path =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    match unmount(file, UnmountFlags::DETACH) {
        // Not there, or nothing is mounted on it.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(with_path(errno.into())),
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(with_path),
    }
}
