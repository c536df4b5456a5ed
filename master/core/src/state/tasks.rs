//! What runs where, as far as told. One record per task from its launch until its last update is acknowledged; the states
//! are those of [`TaskState`]. Nothing of this is stored: tasks come back with their agents.
//!
//! A task holds its resources until it is terminal; a terminal one is kept for the acknowledgement only.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    AgentId, ExecutorId, ExecutorSpec, FrameworkId, Resources, Role, Source, TaskId, TaskKey,
    TaskSpec, TaskState, TaskStatus, Timestamp, UpdateId,
};

use mete_model::SharedMap;

use super::reports::Report;

/// Ended tasks that are remembered per framework, for `/state` only (as many as Mesos).
pub(crate) const MAX_COMPLETED_TASKS: usize = 1_000;

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub key: TaskKey,
    /// Where it runs.
    pub agent: AgentId,
    /// For which role of its framework.
    pub role: Role,
    /// Who looks after it, when it came in a group.
    pub executor: Option<ExecutorId>,
    /// What it is.
    pub spec: TaskBrief,
    /// Where it stands, acknowledged or not.
    pub state: TaskState,
    /// The last report of each state, in the order in which they came: at most one per state.
    pub reports: Vec<Report>,
    /// The last update that asks for an acknowledgement, and the state it tells.
    pub unacknowledged: Option<(UpdateId, TaskState)>,
    /// Set when it is to end. Few are.
    pub kill: Option<Box<Kill>>,
}

/// What stays of a task's description when its agent has it: what is decided on, and in the message all the rest. There may
/// be a hundred thousand of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskBrief {
    /// What it takes.
    pub resources: Resources,
    /// From SIGTERM to SIGKILL; `None`: the agent's own.
    pub kill_grace_period: Option<Duration>,
    /// The `mesos.v1.TaskInfo` as it came. It never says what secrets hold.
    pub original: Arc<[u8]>,
}

impl TaskBrief {
    /// Of a task that is launched.
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            resources: spec.resources.clone(),
            kill_grace_period: spec.kill_grace_period,
            original: spec.original.as_ref().into(),
        }
    }
}

/// A kill that was asked for and is repeated until the task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// From SIGTERM to SIGKILL; `None`: as the task says.
    pub grace_period: Option<Duration>,
    /// How often the agent was told.
    pub told: u32,
    /// Whether it is because its agent drains; else its framework asked, or is gone.
    pub by_drain: bool,
}

impl Kill {
    /// One that its framework has not asked for.
    pub(crate) fn unasked(by_drain: bool) -> Box<Self> {
        Box::new(Self {
            grace_period: None,
            told: 0,
            by_drain,
        })
    }
}

impl Task {
    /// A task about which nothing was heard yet, on this agent.
    pub(crate) fn new(
        key: TaskKey,
        agent: AgentId,
        role: Role,
        executor: Option<&ExecutorSpec>,
        spec: TaskBrief,
    ) -> Self {
        Self {
            key,
            agent,
            role,
            executor: executor.map(|executor| executor.id.clone()),
            spec,
            state: TaskState::Staging,
            reports: Vec::new(),
            unacknowledged: None,
            kill: None,
        }
    }

    /// Whether its agent's resources are in use by it.
    pub const fn holds_resources(&self) -> bool {
        !self.state.is_terminal()
    }

    /// Whether it is to be killed and has not ended.
    pub(crate) const fn is_to_end(&self) -> bool {
        self.kill.is_some() && !self.state.is_terminal()
    }

    /// The last report that was heard.
    pub fn latest(&self) -> Option<&Report> {
        self.reports.last()
    }

    /// One of its reports, whole.
    pub fn told(&self, report: &Report) -> TaskStatus {
        let mut status = report.whole(self.key.task.clone(), || self.looked_after_by());
        status.agent = Some(self.agent.clone());
        status
    }

    /// Who looks after it: one that came alone is its own executor.
    fn looked_after_by(&self) -> ExecutorId {
        let executor = self.executor.clone();
        executor.unwrap_or_else(|| self.key.task.as_executor())
    }

    /// Keeps a report as the last of its state, and gives it back as it is to be told.
    pub(crate) fn note(&mut self, mut status: TaskStatus) -> Arc<TaskStatus> {
        let latest = self.latest();
        share(&mut status.agent, Some(&self.agent));
        share(&mut status.container, latest.and_then(Report::container));
        status.task = self.key.task.clone();
        let report = Report::of(&status, &self.looked_after_by());
        self.reports.retain(|other| other.state != report.state);
        self.reports.reserve_exact(1); // Most tasks have one or two for all their life.
        self.reports.push(report);
        Arc::new(status)
    }

    /// A report that the master makes of where the task stands; it asks for no acknowledgement.
    pub(crate) fn status_by_master(&self, now: Timestamp) -> TaskStatus {
        let mut status = TaskStatus::new(self.key.task.clone(), self.state, Source::Master, now);
        status.agent = Some(self.agent.clone());
        if let Some(latest) = self.latest().map(|latest| self.told(latest)) {
            status.healthy = latest.healthy;
            status.unreachable_time = latest.unreachable_time;
            status.ip_addresses = latest.ip_addresses;
            status.executor = latest.executor;
            status.container = latest.container;
            status.original = latest.original;
        }
        if status.executor.is_none() {
            status.executor.clone_from(&self.executor);
        }
        status
    }
}

/// All tasks that are not over, and the last ones that are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) all: SharedMap<TaskKey, Arc<Task>>,
    pub(crate) ended: SharedMap<(FrameworkId, u64), Arc<Task>>,
    by_agent: BTreeMap<AgentId, BTreeSet<TaskKey>>,
    /// Agents that have lost their last task since somebody asked.
    emptied: BTreeSet<AgentId>,
    ended_of: BTreeMap<FrameworkId, VecDeque<u64>>,
    ended_ever: u64,
}

impl Tasks {
    pub(crate) fn get(&self, key: &TaskKey) -> Option<&Arc<Task>> {
        self.all.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &TaskKey) -> Option<&mut Task> {
        self.all.get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, task: Task) {
        let mine = self.by_agent.entry(task.agent.clone()).or_default();
        mine.insert(task.key.clone());
        self.all.insert(task.key.clone(), Arc::new(task));
    }

    /// Forgets a task altogether.
    pub(crate) fn remove(&mut self, key: &TaskKey) -> Option<Arc<Task>> {
        let task = self.all.remove(key)?;
        if let Some(tasks) = self.by_agent.get_mut(&task.agent) {
            tasks.remove(key);
            if tasks.is_empty() {
                self.by_agent.remove(&task.agent);
                self.emptied.insert(task.agent.clone());
            }
        }
        Some(task)
    }

    /// Moves a task to those that are over.
    pub(crate) fn archive(&mut self, key: &TaskKey) {
        let Some(task) = self.remove(key) else {
            return;
        };
        let mine = self.ended_of.entry(key.framework.clone()).or_default();
        if mine.len() >= MAX_COMPLETED_TASKS
            && let Some(oldest) = mine.pop_front()
        {
            self.ended.remove(&(key.framework.clone(), oldest));
        }
        mine.push_back(self.ended_ever);
        self.ended
            .insert((key.framework.clone(), self.ended_ever), task);
        self.ended_ever += 1;
    }

    /// Whether a task is over because the master has said so: of this agent, and of all that bore the name the last one.
    pub(crate) fn was_ended_by_master(&self, agent: &AgentId, key: &TaskKey) -> bool {
        let numbers = self.ended_of.get(&key.framework).into_iter().flatten();
        let ended = numbers.rev().filter_map(|number| {
            let number = (key.framework.clone(), *number);
            self.ended.get(&number)
        });
        let last = ended.into_iter().find(|task| task.key.task == key.task);
        last.is_some_and(|task| {
            let said = task.latest();
            task.agent == *agent && said.is_some_and(|report| report.uuid.is_none())
        })
    }

    /// Forgets what is over of one framework.
    pub(crate) fn forget_ended(&mut self, framework: &FrameworkId) {
        for number in self.ended_of.remove(framework).into_iter().flatten() {
            self.ended.remove(&(framework.clone(), number));
        }
    }

    /// Takes the agents that have lost their last task since this was asked before.
    pub(crate) fn take_emptied(&mut self) -> BTreeSet<AgentId> {
        std::mem::take(&mut self.emptied)
    }

    /// Whether an agent has no task that is not over.
    pub(crate) fn is_none_on(&self, id: &AgentId) -> bool {
        !self.by_agent.contains_key(id)
    }

    /// The tasks on one agent.
    pub(crate) fn of_agent(&self, id: &AgentId) -> Vec<TaskKey> {
        self.by_agent
            .get(id)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The tasks of one framework.
    pub(crate) fn of_framework<'a>(
        &'a self,
        id: &'a FrameworkId,
    ) -> impl Iterator<Item = &'a Arc<Task>> {
        self.of_framework_after(id, None)
    }

    /// Those that come after one of them, or all.
    pub(crate) fn of_framework_after<'a>(
        &'a self,
        id: &'a FrameworkId,
        after: Option<&'a TaskId>,
    ) -> impl Iterator<Item = &'a Arc<Task>> {
        of_framework(&self.all, id, after)
    }
}

/// The tasks of one framework, out of all: those that come after one of them, or all.
pub(crate) fn of_framework<'a>(
    tasks: &'a SharedMap<TaskKey, Arc<Task>>,
    id: &'a FrameworkId,
    after: Option<&'a TaskId>,
) -> impl Iterator<Item = &'a Arc<Task>> {
    let is_before = move |key: &TaskKey| match key.framework.cmp(id) {
        Ordering::Less => true,
        Ordering::Equal => after.is_some_and(|after| key.task <= *after),
        Ordering::Greater => false,
    };
    tasks
        .after(is_before)
        .take_while(move |(key, _)| key.framework == *id)
        .map(|(_, task)| task)
}

/// One text for two names that are equal.
fn share<T: Clone + PartialEq>(name: &mut Option<T>, known: Option<&T>) {
    if name.as_ref() == known {
        *name = known.cloned();
    }
}

/// The key of a framework's task.
pub(crate) fn key(framework: &FrameworkId, task: &TaskId) -> TaskKey {
    TaskKey {
        framework: framework.clone(),
        task: task.clone(),
    }
}

#[cfg(test)]
mod tests {
    use mete_model::{CheckAnswer, Limitation};

    use super::*;

    fn task() -> Task {
        let key = TaskKey {
            framework: "f".parse().expect("an id"),
            task: "t".parse().expect("an id"),
        };
        let agent: AgentId = "m-S1".parse().expect("an id");
        let spec = TaskSpec::new(
            key.task.clone(),
            agent.clone(),
            Resources::cpus_mem(100, 32),
            mete_model::CommandSpec::shell("sleep 1"),
        );
        Task::new(key, agent, Role::any(), None, TaskBrief::of(&spec))
    }

    #[test]
    fn what_was_reported_is_told_whole() {
        let mut task = task();
        let bare = TaskStatus {
            agent: Some(task.agent.clone()),
            ..TaskStatus::new(
                task.key.task.clone(),
                TaskState::Staging,
                Source::Master,
                Timestamp::from_millis(1),
            )
        };
        let usual = TaskStatus {
            state: TaskState::Starting,
            source: Source::Executor,
            executor: Some(task.key.task.as_executor()),
            container: Some("c".parse().expect("an id")),
            uuid: Some(UpdateId([7; 16])),
            healthy: Some(true),
            ..bare.clone()
        };
        let full = TaskStatus {
            state: TaskState::Running,
            reason: Some(mete_model::Reason::Reconciliation),
            message: Some("words".to_owned()),
            executor: Some("another".parse().expect("an id")),
            check: Some(CheckAnswer::Tcp(Some(true))),
            unreachable_time: Some(Timestamp::from_millis(2)),
            ip_addresses: vec!["10.0.0.1".to_owned()],
            limitation: Some(Limitation::Memory(1)),
            original: Some(Arc::from(&b"said"[..])),
            ..usual.clone()
        };

        for status in [&bare, &usual, &full] {
            assert_eq!(*task.note(status.clone()), *status);
        }

        let told: Vec<TaskStatus> = task.reports.iter().map(|one| task.told(one)).collect();
        assert_eq!(told, [bare, usual, full]);
    }
}
