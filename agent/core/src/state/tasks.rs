//! The tasks of this agent.
//!
//! ```text
//! Accepted ─▶ Starting ─▶ Running ─▶ Ended ─▶ (its last report acknowledged: forgotten)
//!     │           └────▶ Killing ◀──┘  ▲
//!     └───────────────────── │ ────────┘
//!                            └─▶ Ended
//! ```
//! Accepted: stored, waits for its launch job. Starting: the job is under way. A task for an executor of its framework's own
//! waits in Accepted for that, is then Delegated, and Ended when the executor says so, or has ended itself. Invariants: a task is known by
//! (framework, task) from the launch until the acknowledgement of its end; its container never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{
    AgentId, ContainerId, Deadlines, ExecutorId, FrameworkId, FrameworkInfo, SharedMap, TaskKey,
    TaskSpec, TaskStatus, Timestamp,
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
    /// Who looks after it, when it came in a group or with an executor of its framework's own.
    pub executor: Option<ExecutorId>,
    /// When the launch came.
    pub accepted_at: Timestamp,
    /// When its program started.
    pub started_at: Option<Timestamp>,
    /// Where it stands.
    pub phase: Phase,
    /// IP addresses of its own, when it has a network of its own; empty: those of the agent.
    pub addresses: Vec<String>,
    /// What its reports carry besides.
    pub described: Described,
    /// The last report made, acknowledged or not; TASK_STAGING before the first.
    pub latest: TaskStatus,
    /// Why its health check failed last, in the grace period in which no report says so. Not stored.
    pub ailment: Option<Arc<str>>,
}

/// What reports of a task carry and nobody here decides on, as pieces of a `mesos.v1.TaskStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Networks by name, labels: in every report.
    pub always: Option<Arc<[u8]>>,
    /// The same with what an engine says of its container: in the first report that it runs. Not worth a record.
    pub at_start: Option<Arc<[u8]>>,
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
    /// Its executor was told to run it, and says how it goes.
    Delegated,
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
    /// It has run for as long as it may.
    TimeIsUp,
    /// It takes more of the disk than it may.
    DiskUsedUp {
        /// How much it may; `None`: an agent that did not write it down has begun to end it.
        limit_bytes: Option<u64>,
    },
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

    /// Whether an executor of its framework's own runs it.
    pub fn is_delegated(&self) -> bool {
        self.spec.executor.is_some()
    }

    /// When it has run for as long as it may.
    fn ends_by(&self) -> Option<Timestamp> {
        Some(self.started_at? + self.spec.max_completion_time?)
    }

    /// The kill under way.
    pub const fn kill(&self) -> Option<&Kill> {
        match &self.phase {
            Phase::Killing(kill) => Some(kill),
            Phase::Accepted
            | Phase::Starting
            | Phase::Running
            | Phase::Delegated
            | Phase::Ended { .. } => None,
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

/// All tasks and their frameworks; what an input may have made possible is found without looking at each task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    all: SharedMap<TaskKey, Arc<Task>>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// Not begun, in the order in which they came.
    waiting: BTreeSet<(Timestamp, TaskKey)>,
    /// Launch jobs under way.
    launching: usize,
    /// When SIGKILL is due.
    kills: Deadlines<TaskKey>,
    /// When those that run have run for as long as they may.
    ends: Deadlines<TaskKey>,
    /// Those that have not ended.
    live: usize,
}

/// Where a task is found besides among all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting(Timestamp),
    Launching,
    Killed { next: Timestamp },
    Running { ends_by: Option<Timestamp> },
    Ended,
}

impl Place {
    fn of(task: &Task) -> Self {
        match &task.phase {
            Phase::Accepted => Self::Waiting(task.accepted_at),
            Phase::Starting
            | Phase::Killing(Kill {
                launching: true, ..
            }) => Self::Launching,
            Phase::Killing(kill) => Self::Killed { next: kill.next },
            Phase::Running => Self::Running {
                ends_by: task.ends_by(),
            },
            Phase::Delegated => Self::Running { ends_by: None },
            Phase::Ended { .. } => Self::Ended,
        }
    }
}

impl Tasks {
    pub(crate) fn shared(&self) -> SharedMap<TaskKey, Arc<Task>> {
        self.all.clone()
    }

    pub(crate) const fn len(&self) -> usize {
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

    /// Changes a task; what `how` returns, `None` when there is no such task.
    pub(crate) fn edit<R>(&mut self, key: &TaskKey, how: impl FnOnce(&mut Task) -> R) -> Option<R> {
        let task = Arc::make_mut(self.all.get_mut(key)?);
        let before = Place::of(task);
        let said = how(task);
        let after = Place::of(task);
        if before != after {
            self.leave(key, before);
            self.enter(key, after);
        }
        Some(said)
    }

    pub(crate) fn insert(&mut self, task: Task) {
        let (key, place) = (task.key.clone(), Place::of(&task));
        if let Some(before) = self.all.insert(key.clone(), Arc::new(task)) {
            self.leave(&key, Place::of(&before));
        }
        self.enter(&key, place);
    }

    pub(crate) fn remove(&mut self, key: &TaskKey) -> Option<Arc<Task>> {
        let task = self.all.remove(key)?;
        self.leave(key, Place::of(&task));
        Some(task)
    }

    fn enter(&mut self, key: &TaskKey, place: Place) {
        self.live += usize::from(place != Place::Ended);
        match place {
            Place::Waiting(since) => drop(self.waiting.insert((since, key.clone()))),
            Place::Launching => self.launching += 1,
            Place::Killed { next } => self.kills.set(key.clone(), next),
            Place::Running { ends_by: Some(at) } => self.ends.set(key.clone(), at),
            Place::Running { ends_by: None } | Place::Ended => {}
        }
    }

    fn leave(&mut self, key: &TaskKey, place: Place) {
        self.live -= usize::from(place != Place::Ended);
        match place {
            Place::Waiting(since) => drop(self.waiting.remove(&(since, key.clone()))),
            Place::Launching => self.launching -= 1,
            Place::Killed { .. } => self.kills.clear(key),
            Place::Running { .. } => self.ends.clear(key),
            Place::Ended => {}
        }
    }

    /// The tasks of one framework.
    pub(crate) fn of(&self, framework: &FrameworkId) -> impl Iterator<Item = &Arc<Task>> {
        let from = self.all.after(|key| key.framework < *framework);
        from.take_while(|(key, _)| key.framework == *framework)
            .map(|(_, task)| task)
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

    /// The earliest SIGKILL that is due, or end of a task that has run for as long as it may.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.kills.next().into_iter().chain(self.ends.next()).min()
    }

    /// Takes the tasks that have run for as long as they may; each must be ended.
    pub(crate) fn take_late(&mut self, now: Timestamp) -> Vec<TaskKey> {
        self.ends.pop_all(now)
    }

    /// Takes the tasks whose SIGKILL is due; each must be given its next one.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Vec<TaskKey> {
        self.kills.pop_all(now)
    }

    /// Up to `limit` tasks that wait for their launch job and may have it, in the order in which they came.
    pub(crate) fn waiting(&self, limit: usize, may: impl Fn(&Task) -> bool) -> Vec<TaskKey> {
        let waiting = self.waiting.iter().map(|(_, key)| key);
        let ready = waiting.filter(|key| self.all.get(key).is_some_and(|task| may(task)));
        ready.take(limit).cloned().collect()
    }

    /// Launch jobs under way.
    pub(crate) const fn launching(&self) -> usize {
        self.launching
    }

    /// Tasks whose program may still run or come to run.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }
}
