//! Executors that look after groups of tasks: what they take of their agents besides the tasks, once, as long as one of
//! those holds resources. Nothing of this is stored: agents bring it with their tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_model::{AgentId, ExecutorId, ExecutorSpec, FrameworkId, Role, TaskId};

use mete_model::SharedMap;

/// Names an executor: a framework may use the same id on several agents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutorKey {
    /// Where it is.
    pub agent: AgentId,
    /// Whose.
    pub framework: FrameworkId,
    /// Which.
    pub executor: ExecutorId,
}

/// One executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executor {
    /// What it is.
    pub spec: Arc<ExecutorSpec>,
    /// On whose account it takes resources.
    pub role: Role,
    /// Its tasks that hold resources; at least one.
    pub tasks: BTreeSet<TaskId>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Executors {
    pub(crate) all: SharedMap<ExecutorKey, Arc<Executor>>,
}

impl Executors {
    pub(crate) fn get(&self, key: &ExecutorKey) -> Option<&Arc<Executor>> {
        self.all.get(key)
    }

    /// A task comes below an executor; whether that is new.
    pub(crate) fn join(
        &mut self,
        key: ExecutorKey,
        spec: &Arc<ExecutorSpec>,
        role: &Role,
        task: TaskId,
    ) -> bool {
        if let Some(executor) = self.all.get_mut(&key) {
            Arc::make_mut(executor).tasks.insert(task);
            return false;
        }
        let executor = Executor {
            spec: Arc::clone(spec),
            role: role.clone(),
            tasks: [task].into(),
        };
        self.all.insert(key, Arc::new(executor));
        true
    }

    /// A task holds nothing any more; its executor when it was the last one, which is over then.
    pub(crate) fn leave(&mut self, key: &ExecutorKey, task: &TaskId) -> Option<Arc<Executor>> {
        let executor = Arc::make_mut(self.all.get_mut(key)?);
        executor.tasks.remove(task);
        if executor.tasks.is_empty() {
            return self.all.remove(key);
        }
        None
    }

    /// An agent is not there any more, or is about to say itself what it has.
    pub(crate) fn forget_agent(&mut self, agent: &AgentId) {
        let its = self.all.after(|key| key.agent < *agent);
        let its = its.take_while(|(key, _)| key.agent == *agent);
        for key in its.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.all.remove(&key);
        }
    }
}
