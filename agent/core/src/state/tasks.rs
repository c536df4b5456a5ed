//! The tasks of this agent.
//!
//! ```text
//! Accepted ─▶ Starting ─▶ Running ─▶ Ended ─▶ (its last report acknowledged: forgotten)
//!     │           └────▶ Killing ◀──┘  ▲
//!     └───────────────────── │ ────────┘
//!                            └─▶ Ended
//! ```
//! Accepted: stored, waits for its launch job. Starting: the job is under way. Invariants: a task is known by
//! (framework, task) from the launch until the acknowledgement of its end; its container never changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{
    AgentId, ContainerId, ExecutorId, FrameworkId, FrameworkInfo, TaskKey, TaskSpec, TaskStatus,
    Timestamp,
};

/// Most tasks on one agent, ended ones whose end is not acknowledged included: a machine has 32,768 process ids by
/// default, and each task takes two or more.
pub(crate) const MAX_TASKS: usize = 10_000;

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Whose, and which.
    pub key: TaskKey,
    /// What it runs.
    pub spec: Arc<TaskSpec>,
    /// Names this run of it.
    pub container: ContainerId,
    /// The agent's id, a part of the sandbox's path.
    pub agent: AgentId,
    /// Who looks after it, when it came in a group.
    pub executor: Option<ExecutorId>,
    /// When the launch came.
    pub accepted_at: Timestamp,
    /// When its program started.
    pub started_at: Option<Timestamp>,
    /// Where it stands.
    pub phase: Phase,
    /// IP addresses of its own, when it has a network of its own; empty: those of the agent.
    pub addresses: Vec<String>,
    /// The last report made, acknowledged or not; TASK_STAGING before the first.
    pub latest: TaskStatus,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Stored, not begun.
    Accepted,
    /// The launch job is under way.
    Starting,
    /// Its program runs.
    Running,
    /// It is being ended.
    Killing(Kill),
    /// It has ended; its last report is not acknowledged.
    Ended {
        /// When.
        at: Timestamp,
    },
}

/// How far a kill has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// Since when.
    pub since: Timestamp,
    /// When SIGKILL is sent, again if need be.
    pub next: Timestamp,
    /// How often SIGKILL was sent.
    pub forced: u32,
    /// For what reason.
    pub why: Why,
    /// What to say at the end, for people.
    pub note: Option<String>,
    /// The launch job is still under way.
    pub launching: bool,
}

/// For what reason a task is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The framework asked.
    Asked,
    /// Its health check failed too often.
    Unhealthy,
    /// Its framework is gone.
    FrameworkRemoved,
    /// Another task of its group has failed or was killed.
    Group,
    /// The agent ends.
    AgentStops,
}

impl Task {
    /// Whether its program may still run or come to run.
    pub const fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Ended { .. })
    }

    /// The kill under way.
    pub const fn kill(&self) -> Option<&Kill> {
        match &self.phase {
            Phase::Killing(kill) => Some(kill),
            Phase::Accepted | Phase::Starting | Phase::Running | Phase::Ended { .. } => None,
        }
    }

    /// Whether its launch job is under way.
    pub const fn is_launching(&self) -> bool {
        match &self.phase {
            Phase::Starting => true,
            Phase::Killing(kill) => kill.launching,
            Phase::Accepted | Phase::Running | Phase::Ended { .. } => false,
        }
    }
}

/// A framework that has tasks here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Framework {
    pub(crate) info: Arc<FrameworkInfo>,
    /// It is being shut down: its tasks end without reports.
    pub(crate) leaving: bool,
}

/// All tasks and their frameworks. Shared with the views: copied when changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    all: Arc<BTreeMap<TaskKey, Arc<Task>>>,
    frameworks: BTreeMap<FrameworkId, Framework>,
}

impl Tasks {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<TaskKey, Arc<Task>>> {
        Arc::clone(&self.all)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.all.values()
    }

    pub(crate) fn get(&self, key: &TaskKey) -> Option<&Arc<Task>> {
        self.all.get(key)
    }

    /// The task if it is still this run of it.
    pub(crate) fn run(&self, key: &TaskKey, container: &ContainerId) -> Option<&Arc<Task>> {
        self.all
            .get(key)
            .filter(|task| task.container == *container)
    }

    pub(crate) fn edit(&mut self, key: &TaskKey) -> Option<&mut Task> {
        Arc::make_mut(&mut self.all).get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, task: Task) {
        Arc::make_mut(&mut self.all).insert(task.key.clone(), Arc::new(task));
    }

    pub(crate) fn remove(&mut self, key: &TaskKey) {
        Arc::make_mut(&mut self.all).remove(key);
    }

    /// The tasks of one framework.
    pub(crate) fn of(&self, framework: &FrameworkId) -> Vec<TaskKey> {
        let keys = self.all.keys();
        keys.filter(|key| key.framework == *framework)
            .cloned()
            .collect()
    }

    pub(crate) fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id)
    }

    pub(crate) fn frameworks(&self) -> impl Iterator<Item = (&FrameworkId, &Framework)> {
        self.frameworks.iter()
    }

    pub(crate) fn set_framework(&mut self, id: FrameworkId, framework: Framework) {
        self.frameworks.insert(id, framework);
    }

    pub(crate) fn remove_framework(&mut self, id: &FrameworkId) -> Option<Framework> {
        self.frameworks.remove(id)
    }

    /// The earliest SIGKILL that is due.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.all
            .values()
            .filter_map(|task| task.kill())
            .filter(|kill| !kill.launching)
            .map(|kill| kill.next)
            .min()
    }

    /// Tasks whose SIGKILL is due.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<TaskKey> {
        let due = |task: &&Arc<Task>| {
            task.kill()
                .is_some_and(|kill| !kill.launching && kill.next <= now)
        };
        let tasks = self.all.values().filter(due);
        tasks.map(|task| task.key.clone()).collect()
    }

    /// Up to `limit` tasks that wait for their launch job and may have it, in the order in which they came.
    pub(crate) fn waiting(&self, limit: usize, may: impl Fn(&Task) -> bool) -> Vec<TaskKey> {
        let mut waiting: Vec<_> = self
            .all
            .values()
            .filter(|task| matches!(task.phase, Phase::Accepted) && may(task))
            .map(|task| (task.accepted_at, task.key.clone()))
            .collect();
        waiting.sort_unstable();
        waiting
            .into_iter()
            .take(limit)
            .map(|(_, key)| key)
            .collect()
    }

    pub(crate) fn count(&self, which: impl Fn(&Task) -> bool) -> usize {
        self.all.values().filter(|task| which(task)).count()
    }
}
