//! Persistent volumes of this agent: directories that outlive tasks.
//!
//! ```text
//! (a task that holds it is accepted) ─▶ Kept ──destroyed──▶ Doomed ─▶ erased: forgotten
//!                                                            ▲  └ failed: tried again with the next look at the disk
//! ```
//! Which volumes there are is the master's to know, and each task that may use one says so in its resources. Here is only
//! what the agent has a directory for, or is about to. Invariant: a doomed volume is given to no task, and erased only when
//! no live task holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{Timestamp, VolumeName};

/// Volumes being erased at once: each is a walk over a directory tree.
pub(crate) const MAX_ERASURES_AT_ONCE: usize = 4;
/// Most volumes on one agent: ten times what its resources can be divided into at once, so that only directories whose
/// master was lost together with its state can get there.
pub(crate) const MAX_VOLUMES: usize = 10 * mete_model::resources::MAX_PARTS;

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Whose, and which.
    pub name: VolumeName,
    /// How much disk is set aside for it.
    pub bytes: u64,
    /// Whether several tasks may hold it at once.
    pub shared: bool,
    /// When the first task came that holds it.
    pub since: Timestamp,
    /// Where it stands.
    pub phase: VolumePhase,
}

/// Where a volume stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumePhase {
    /// Tasks that hold it find what was left on it.
    Kept,
    /// It was destroyed and is to be erased.
    Doomed {
        /// Why the last try has failed.
        failure: Option<String>,
    },
}

/// All of them, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    all: Arc<BTreeMap<VolumeName, Arc<Volume>>>,
    /// The work of erasing them is under way.
    erasing: BTreeSet<VolumeName>,
    /// Not tried again before the next look at the disk.
    failed: BTreeSet<VolumeName>,
}

impl Volumes {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<VolumeName, Arc<Volume>>> {
        Arc::clone(&self.all)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, name: &VolumeName) -> Option<&Arc<Volume>> {
        self.all.get(name)
    }

    pub(crate) fn keep(&mut self, volume: Volume) -> Arc<Volume> {
        let volume = Arc::new(volume);
        Arc::make_mut(&mut self.all).insert(volume.name.clone(), Arc::clone(&volume));
        volume
    }

    pub(crate) fn edit(&mut self, name: &VolumeName) -> Option<&mut Volume> {
        Arc::make_mut(&mut self.all)
            .get_mut(name)
            .map(Arc::make_mut)
    }

    /// Whether there is something to be erased that nobody is erasing.
    pub(crate) fn waiting(&self) -> Vec<VolumeName> {
        let doomed = self.all.values().filter(|volume| volume.is_doomed());
        doomed
            .map(|volume| volume.name.clone())
            .filter(|name| !self.erasing.contains(name) && !self.failed.contains(name))
            .collect()
    }

    /// Begins to erase one; false when too many are under way.
    pub(crate) fn begin(&mut self, name: &VolumeName) -> bool {
        let room = self.erasing.len() < MAX_ERASURES_AT_ONCE;
        if room {
            self.erasing.insert(name.clone());
        }
        room
    }

    /// The work has ended without success.
    pub(crate) fn failed(&mut self, name: &VolumeName) {
        self.erasing.remove(name);
        self.failed.insert(name.clone());
    }

    /// Nothing of it is left.
    pub(crate) fn forget(&mut self, name: &VolumeName) {
        self.erasing.remove(name);
        self.failed.remove(name);
        Arc::make_mut(&mut self.all).remove(name);
    }

    /// What has failed may be tried again.
    pub(crate) fn try_again(&mut self) {
        self.failed.clear();
    }
}

impl Volume {
    /// Whether it was destroyed.
    pub const fn is_doomed(&self) -> bool {
        match self.phase {
            VolumePhase::Doomed { .. } => true,
            VolumePhase::Kept => false,
        }
    }
}
