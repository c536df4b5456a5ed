//! Executors that are programs of their frameworks: a process each, which is told of its tasks and says how they go.
//!
//! ```text
//! (first task) ─▶ Starting ─▶ Awaited ─▶ Subscribed ─▶ Ending ─▶ (its process has ended) over
//!                    │           │ too late              ▲
//!                    └───────────┴───────────────────────┘      after a restart of the agent: Awaited again
//! ```
//! A stream that breaks does not move one: it comes back when it can, and its process is watched. Invariants: one is here
//! from its first task until its process has ended, with tasks or without; its container names its sandbox, and never
//! changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mete_model::{
    AgentId, ContainerId, Deadlines, ExecutorId, ExecutorSpec, FrameworkId, FrameworkInfo, Reason,
    TaskId, TaskSpec, Timestamp, UpdateId,
};

use super::executors::ExecutorKey;
use super::sandboxes::Within;

/// Most of them on one agent: each is a process that stays when its tasks have ended.
pub(crate) const MAX_CUSTOM_EXECUTORS: usize = 1_000;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomExecutor {
    /// Whose, and which.
    pub key: ExecutorKey,
    /// What it is.
    pub spec: Arc<ExecutorSpec>,
    /// Names this run of it.
    pub container: ContainerId,
    /// The agent's id, a part of its sandbox's path.
    pub agent: AgentId,
    /// When its first task came.
    pub since: Timestamp,
    /// Where it stands.
    pub phase: ExecutorPhase,
    /// Where it hears, while it is subscribed.
    pub stream: Option<u64>,
    /// The most memory it was given so far, for itself and its tasks: what is in use is not taken away again.
    pub mem_bytes: u64,
    /// Groups that wait to be handed over together, each in the order given.
    pub groups: Vec<Vec<TaskId>>,
}

/// Where one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutorPhase {
    /// The launch job is under way.
    Starting,
    /// Its program runs, and has not subscribed.
    Awaited {
        /// Then it is too late.
        until: Timestamp,
        /// It had subscribed to the agent before this one.
        again: bool,
    },
    /// It has subscribed.
    Subscribed,
    /// It is being ended.
    Ending(Ending),
}

/// How far the end of one has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When SIGKILL is sent, again if need be.
    pub next: Timestamp,
    /// How often SIGKILL was sent.
    pub forced: u32,
    /// Why its tasks end, for programs.
    pub reason: Reason,
    /// The same for people.
    pub note: String,
    /// The launch job is still under way.
    pub launching: bool,
}

/// What one is told.
#[derive(Clone, Debug, PartialEq)]
pub enum ToExecutor {
    /// It is subscribed.
    Subscribed {
        /// What it is.
        executor: Arc<CustomExecutor>,
        /// Whose.
        framework: Arc<FrameworkInfo>,
    },
    /// Run a task.
    Launch(Arc<TaskSpec>),
    /// Run tasks that belong together.
    LaunchGroup(Vec<Arc<TaskSpec>>),
    /// End a task.
    Kill {
        /// Which.
        task: TaskId,
        /// Overrides the task's own.
        grace: Option<std::time::Duration>,
    },
    /// A report is stored.
    Acknowledged {
        /// Of which task.
        task: TaskId,
        /// Which report.
        update: UpdateId,
    },
    /// Its framework says something.
    Message(Bytes),
    /// End all tasks, then yourself.
    Shutdown,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomExecutors {
    all: Arc<BTreeMap<ExecutorKey, Arc<CustomExecutor>>>,
    /// Those that ended while no master was there to hear. At most [`MAX_CUSTOM_EXECUTORS`]: none begins without a master.
    unheard: BTreeMap<ExecutorKey, Unheard>,
    /// When one is awaited no longer, or is sent SIGKILL.
    due: Deadlines<ExecutorKey>,
}

/// An end of which no master has heard.
#[derive(Clone, Copy, Debug)]
struct Unheard {
    /// As from waitpid(2).
    status: i32,
    /// The registration that is under way tells it.
    told: bool,
}

impl CustomExecutors {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<ExecutorKey, Arc<CustomExecutor>>> {
        Arc::clone(&self.all)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<CustomExecutor>> {
        self.all.values()
    }

    pub(crate) fn get(&self, key: &ExecutorKey) -> Option<&Arc<CustomExecutor>> {
        self.all.get(key)
    }

    /// Which one runs in a container.
    pub(crate) fn in_container(&self, container: &ContainerId) -> Option<ExecutorKey> {
        let one = self.all.values().find(|one| one.container == *container);
        one.map(|one| one.key.clone())
    }

    /// Whether a framework has one here.
    pub(crate) fn has_of(&self, framework: &FrameworkId) -> bool {
        self.all.keys().any(|key| key.framework == *framework)
    }

    /// Changes one; what it is then, `None` when there is no such executor.
    pub(crate) fn edit(
        &mut self,
        key: &ExecutorKey,
        how: impl FnOnce(&mut CustomExecutor),
    ) -> Option<Arc<CustomExecutor>> {
        let one = Arc::make_mut(&mut self.all).get_mut(key)?;
        how(Arc::make_mut(one));
        match &one.phase {
            ExecutorPhase::Awaited { until, .. } => self.due.set(key.clone(), *until),
            ExecutorPhase::Ending(ending) => self.due.set(key.clone(), ending.next),
            ExecutorPhase::Starting | ExecutorPhase::Subscribed => self.due.clear(key),
        }
        Some(Arc::clone(one))
    }

    pub(crate) fn insert(&mut self, one: CustomExecutor) -> Arc<CustomExecutor> {
        let one = Arc::new(one);
        Arc::make_mut(&mut self.all).insert(one.key.clone(), Arc::clone(&one));
        one
    }

    pub(crate) fn remove(&mut self, key: &ExecutorKey) -> Option<Arc<CustomExecutor>> {
        self.due.clear(key);
        Arc::make_mut(&mut self.all).remove(key)
    }

    /// One has ended, and no master is there to hear it; whether there was room for that.
    pub(crate) fn ended_unheard(&mut self, key: ExecutorKey, status: i32) -> bool {
        let room = self.unheard.len() < MAX_CUSTOM_EXECUTORS;
        if room {
            let told = false;
            self.unheard.insert(key, Unheard { status, told });
        }
        room
    }

    /// How those ended of which no master has heard: a registration is about to tell.
    pub(crate) fn tell_unheard(&mut self) -> Vec<(ExecutorKey, i32)> {
        let all = self.unheard.iter_mut().map(|(key, one)| {
            one.told = true;
            (key.clone(), one.status)
        });
        all.collect()
    }

    /// A master has taken a registration: those that it told, and those that have ended since with how they did.
    pub(crate) fn heard(&mut self) -> (Vec<ExecutorKey>, Vec<(ExecutorKey, i32)>) {
        let (told, since): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unheard)
            .into_iter()
            .partition(|(_, one)| one.told);
        let since = since.into_iter().map(|(key, one)| (key, one.status));
        (
            told.into_iter().map(|(key, _)| key).collect(),
            since.collect(),
        )
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.due.next()
    }

    /// Takes those for which it is time; each must be given its next moment or none.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Vec<ExecutorKey> {
        self.due.pop_all(now)
    }
}

impl CustomExecutor {
    /// Where its sandbox is, which is that of its tasks.
    pub fn within(&self) -> Within {
        Within {
            executor: self.key.executor.clone(),
            container: self.container.clone(),
        }
    }

    /// The end of it, once that has begun.
    pub const fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            ExecutorPhase::Ending(ending) => Some(ending),
            ExecutorPhase::Starting | ExecutorPhase::Awaited { .. } | ExecutorPhase::Subscribed => {
                None
            }
        }
    }

    /// Its id, which is also the name of its folder.
    pub const fn id(&self) -> &ExecutorId {
        &self.key.executor
    }
}
