//! Volumes that were destroyed and whose agents have not said yet that nothing of them is left. On disk.
//!
//! Invariant: while a volume is here, none of its name is made on its agent: an order to erase that is said twice never
//! hits a later volume.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, VolumeName};

/// Most volumes of one agent that are being erased at once. An agent erases in moments; beyond this something is wrong
/// with its disk, and more orders would not help.
pub(crate) const MAX_ERASURES: usize = 1_000;

/// By agent. No set is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Erasures(BTreeMap<AgentId, BTreeSet<VolumeName>>);

impl Erasures {
    pub(crate) const fn new(all: BTreeMap<AgentId, BTreeSet<VolumeName>>) -> Self {
        Self(all)
    }

    /// What an agent is to erase.
    pub(crate) fn of(&self, agent: &AgentId) -> BTreeSet<VolumeName> {
        self.0.get(agent).cloned().unwrap_or_default()
    }

    pub(crate) fn insert(&mut self, agent: &AgentId, volumes: BTreeSet<VolumeName>) {
        if !volumes.is_empty() {
            self.0.entry(agent.clone()).or_default().extend(volumes);
        }
    }

    /// An agent has erased a volume; whether it was to.
    pub(crate) fn remove(&mut self, agent: &AgentId, volume: &VolumeName) -> bool {
        let Some(left) = self.0.get_mut(agent) else {
            return false;
        };
        let was = left.remove(volume);
        if left.is_empty() {
            self.0.remove(agent);
        }
        was
    }

    /// An agent is forgotten; whether there was something to forget.
    pub(crate) fn forget(&mut self, agent: &AgentId) -> bool {
        self.0.remove(agent).is_some()
    }
}
