//! Sandboxes of ended tasks: kept for people to read, removed by age and disk pressure.
//!
//! ```text
//! kept ─▶ being removed ─▶ gone
//!   ▲────────┘ failed: tried again, at most [`MAX_TRIES`] times
//! ```
//! Invariant: at most [`MAX_KEPT`] are remembered; beyond that the oldest goes first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, ContainerId, ExecutorId, SharedMap, TaskKey, TaskState, Timestamp};

/// Most sandboxes kept, whatever their age: an agent that ends a task every minute for a week fills it.
pub(crate) const MAX_KEPT: usize = 10_000;
/// Removals under way at once: each is a walk over a directory tree.
pub(crate) const MAX_REMOVALS_AT_ONCE: usize = 4;
/// After so many failures a sandbox is left to the operator.
pub(crate) const MAX_TRIES: u32 = 5;

/// What an ended task left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Whose.
    pub key: TaskKey,
    /// Name of the task, for people.
    pub name: String,
    /// Whether it was an executor, which is no task whatever its key says.
    pub is_executor: bool,
    /// Which run of it.
    pub container: ContainerId,
    /// The sandbox of the executor that it lies in, when the task came in a group.
    pub within: Option<Within>,
    /// The agent's id when it ran, a part of the path.
    pub agent: AgentId,
    /// When the task ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub state: TaskState,
    /// Why, for people.
    pub message: Option<String>,
}

/// The sandbox of an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// Which.
    pub executor: ExecutorId,
    /// Which run of it.
    pub container: ContainerId,
}

/// All of them, by container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sandboxes {
    kept: SharedMap<ContainerId, Arc<Sandbox>>,
    removing: BTreeMap<ContainerId, u32>,
    failed: BTreeMap<ContainerId, u32>,
}

impl Sandboxes {
    pub(crate) fn shared(&self) -> SharedMap<ContainerId, Arc<Sandbox>> {
        self.kept.clone()
    }

    pub(crate) fn keep(&mut self, sandbox: Sandbox) {
        self.kept
            .insert(sandbox.container.clone(), Arc::new(sandbox));
    }

    /// The sandboxes to remove now that each may be kept for `delay`, oldest first; they count as being removed.
    pub(crate) fn start_due(&mut self, now: Timestamp, delay: Duration) -> Vec<Arc<Sandbox>> {
        let mut ages: Vec<_> = self
            .kept
            .values()
            .filter(|sandbox| !self.removing.contains_key(&sandbox.container))
            .map(|sandbox| (sandbox.ended_at, Arc::clone(sandbox)))
            .collect();
        ages.sort_unstable_by(|a, b| (a.0, &a.1.container).cmp(&(b.0, &b.1.container)));
        let surplus = ages.len().saturating_sub(MAX_KEPT);
        let due: Vec<_> = ages
            .into_iter()
            .enumerate()
            .filter(|(at, (ended, _))| *at < surplus || now >= *ended + delay)
            .map(|(_, (_, sandbox))| sandbox)
            .take(MAX_REMOVALS_AT_ONCE.saturating_sub(self.removing.len()))
            .collect();
        for sandbox in &due {
            let tries = self.failed.remove(&sandbox.container).unwrap_or(0);
            self.removing.insert(sandbox.container.clone(), tries + 1);
        }
        due
    }

    /// A removal has ended; whether the sandbox is to be forgotten.
    pub(crate) fn removed(&mut self, container: &ContainerId, failed: bool) -> bool {
        let Some(tries) = self.removing.remove(container) else {
            return false;
        };
        if failed && tries < MAX_TRIES {
            self.failed.insert(container.clone(), tries);
            return false;
        }
        self.kept.remove(container);
        true
    }
}
