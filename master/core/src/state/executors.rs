//! Executors: what they take of their agents besides their tasks, once. The agent's own, which look after groups, are here
//! as long as a task of theirs holds resources; those of frameworks' own until their agent says that they are over.
//! Nothing of this is stored: agents bring it.
//!
//! How those of frameworks' own ended is kept for frameworks that are not there to hear it, until they are.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use mete_model::{AgentId, ExecutorId, ExecutorKind, ExecutorSpec, FrameworkId, Role, TaskId};

use mete_model::SharedMap;

/// Most ends that are kept for frameworks that are away: more than that end at once only with whole racks. The oldest goes.
const MAX_UNTOLD: usize = 10_000;

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
    /// Its tasks that hold resources; at least one when it is the agent's own.
    pub tasks: BTreeSet<TaskId>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Executors {
    pub(crate) all: SharedMap<ExecutorKey, Arc<Executor>>,
    /// How those ended whose frameworks were away, oldest first.
    untold: VecDeque<(ExecutorKey, i32)>,
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

    /// One that its agent brings without tasks.
    pub(crate) fn bring(&mut self, key: ExecutorKey, spec: Arc<ExecutorSpec>, role: Role) {
        let tasks = BTreeSet::new();
        self.all
            .insert(key, Arc::new(Executor { spec, role, tasks }));
    }

    /// One is over; what it was.
    pub(crate) fn end(&mut self, key: &ExecutorKey) -> Option<Arc<Executor>> {
        self.all.remove(key)
    }

    /// One has ended, and its framework is not there to hear how.
    pub(crate) fn keep_untold(&mut self, key: ExecutorKey, status: i32) {
        self.untold.retain(|(other, _)| *other != key);
        if self.untold.len() >= MAX_UNTOLD {
            self.untold.pop_front();
        }
        self.untold.push_back((key, status));
    }

    /// How those of a framework ended while it was away; asked once.
    pub(crate) fn take_untold(&mut self, framework: &FrameworkId) -> Vec<(ExecutorKey, i32)> {
        let untold = std::mem::take(&mut self.untold);
        let (its, others): (Vec<_>, _) = untold
            .into_iter()
            .partition(|(key, _)| key.framework == *framework);
        self.untold = others.into();
        its
    }

    /// Those of a framework that are its own programs.
    pub(crate) fn custom_of(&self, framework: &FrameworkId) -> Vec<ExecutorKey> {
        let its = self.all.iter().filter(|(key, executor)| {
            key.framework == *framework && executor.spec.kind == ExecutorKind::Custom
        });
        its.map(|(key, _)| key.clone()).collect()
    }

    /// Those of a framework on an agent.
    pub(crate) fn of(&self, framework: &FrameworkId, agent: &AgentId) -> Vec<ExecutorId> {
        let place = (agent, framework);
        let its = self
            .all
            .after(|key| (&key.agent, &key.framework) < place)
            .take_while(|(key, _)| (&key.agent, &key.framework) == place);
        its.map(|(key, _)| key.executor.clone()).collect()
    }

    /// Those on an agent that are their frameworks' own programs.
    pub(crate) fn custom_on(&self, agent: &AgentId) -> BTreeSet<ExecutorKey> {
        let its = self.all.after(|key| key.agent < *agent);
        let its = its.take_while(|(key, _)| key.agent == *agent);
        let custom = its.filter(|(_, executor)| executor.spec.kind == ExecutorKind::Custom);
        custom.map(|(key, _)| key.clone()).collect()
    }

    /// A task holds nothing any more; its executor when that is over with its last task.
    pub(crate) fn leave(&mut self, key: &ExecutorKey, task: &TaskId) -> Option<Arc<Executor>> {
        let executor = Arc::make_mut(self.all.get_mut(key)?);
        executor.tasks.remove(task);
        if executor.tasks.is_empty() && executor.spec.kind == ExecutorKind::Default {
            return self.all.remove(key);
        }
        None
    }

    /// An agent is not there any more, or is about to say itself what it has; whose executors it had.
    pub(crate) fn forget_agent(&mut self, agent: &AgentId) -> BTreeSet<FrameworkId> {
        let its = self.all.after(|key| key.agent < *agent);
        let its = its.take_while(|(key, _)| key.agent == *agent);
        let its: Vec<_> = its.map(|(key, _)| key.clone()).collect();
        for key in &its {
            self.all.remove(key);
        }
        its.into_iter().map(|key| key.framework).collect()
    }
}
