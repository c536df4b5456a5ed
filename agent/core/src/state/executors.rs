//! Executors: what tasks of groups have in common.
//!
//! ```text
//! (first group accepted) ─▶ here ─▶ (the last live task of all its groups has ended) over
//! ```
//! All of them are the agent's own, so that nothing has to be started for one. A group is what came in one launch. Invariants: an executor is here as long as one of its tasks lives; its container
//! names its sandbox and its network, and never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{AgentId, ContainerId, ExecutorId, ExecutorSpec, FrameworkId, TaskId, Timestamp};

use crate::state::sandboxes::Within;

/// Names an executor on its agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutorKey {
    /// Whose.
    pub framework: FrameworkId,
    /// Which.
    pub executor: ExecutorId,
}

/// One executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executor {
    /// Whose, and which.
    pub key: ExecutorKey,
    /// What it is.
    pub spec: Arc<ExecutorSpec>,
    /// Names this run of it.
    pub container: ContainerId,
    /// The agent's id, a part of its sandbox's path.
    pub agent: AgentId,
    /// When its first group came.
    pub since: Timestamp,
    /// Its groups, those that are over included, in the order in which they came.
    pub groups: Vec<Group>,
}

/// Tasks that came in one launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// All of them, in the order given.
    pub tasks: Vec<TaskId>,
    /// Those that are to end with success one after the other before the others begin.
    pub init: Vec<TaskId>,
    /// Those of them that have.
    pub done: BTreeSet<TaskId>,
    /// Whose end has ended all; set once.
    pub failed: Option<TaskId>,
}

impl Group {
    /// Whether it is a task's turn to be launched.
    pub(crate) fn is_turn_of(&self, task: &TaskId) -> bool {
        let mut before = self.init.iter().take_while(|init| *init != task);
        before.all(|init| self.done.contains(init))
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Executors(Arc<BTreeMap<ExecutorKey, Arc<Executor>>>);

impl Executors {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<ExecutorKey, Arc<Executor>>> {
        Arc::clone(&self.0)
    }

    pub(crate) fn get(&self, key: &ExecutorKey) -> Option<&Arc<Executor>> {
        self.0.get(key)
    }

    pub(crate) fn edit(&mut self, key: &ExecutorKey) -> Option<&mut Executor> {
        Arc::make_mut(&mut self.0).get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, executor: Executor) {
        Arc::make_mut(&mut self.0).insert(executor.key.clone(), Arc::new(executor));
    }

    pub(crate) fn remove(&mut self, key: &ExecutorKey) -> Option<Arc<Executor>> {
        Arc::make_mut(&mut self.0).remove(key)
    }
}

impl Executor {
    /// Where the sandboxes of its tasks lie.
    pub fn within(&self) -> Within {
        Within {
            executor: self.key.executor.clone(),
            container: self.container.clone(),
        }
    }

    /// The group that a task came in; the last one when a name was used again.
    pub(crate) fn group_of(&self, task: &TaskId) -> Option<&Group> {
        let mut groups = self.groups.iter().rev();
        groups.find(|group| group.tasks.contains(task))
    }

    pub(crate) fn group_of_mut(&mut self, task: &TaskId) -> Option<&mut Group> {
        let mut groups = self.groups.iter_mut().rev();
        groups.find(|group| group.tasks.contains(task))
    }
}
