//! Tasks for executors of frameworks' own: the first one starts its executor, all are given to it once it has subscribed.

use std::sync::Arc;

use mete_model::resources::megabytes::bytes_of;
use mete_model::{
    AgentId, CommandSpec, Effects, ExecutorSpec, FrameworkId, FrameworkInfo, Reason, Resources,
    TaskId, TaskKey, TaskSpec, TaskState, Timestamp,
};
use tracing::{error, info};

use super::report::News;
use crate::effects::{Action, ForExecutor};
use crate::executor_environment::DEFAULT_SHUTDOWN_GRACE;
use crate::node::Node;
use crate::record::Record;
use crate::state::custom_executors::{
    CustomExecutor, ExecutorPhase, MAX_CUSTOM_EXECUTORS, ToExecutor,
};
use crate::state::executors::ExecutorKey;
use crate::state::tasks::{Phase, Task, Why};

impl Node {
    /// The master asks for a task that an executor of the framework's own is to run.
    pub(super) fn delegate(
        &mut self,
        now: Timestamp,
        task: TaskKey,
        spec: TaskSpec,
        executor: &Arc<ExecutorSpec>,
        agent: AgentId,
        out: &mut Effects<Self>,
    ) {
        let key = ExecutorKey {
            framework: task.framework.clone(),
            executor: executor.id.clone(),
        };
        if let Some(refusal) = self.executor_refusal(&key, executor) {
            self.report_orphan(now, &task, refusal);
            self.executor_not_begun(&key, out);
            return self.forget_framework_if_unused(&task.framework, out);
        }
        let id = Some(executor.id.clone());
        self.take(now, task, spec, agent.clone(), id, out);
        self.engage(now, &key, executor, agent, None, out);
    }

    /// The same of tasks that it is to run together.
    pub(super) fn delegate_group(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        executor: &Arc<ExecutorSpec>,
        tasks: Vec<(TaskKey, TaskSpec)>,
        agent: AgentId,
        out: &mut Effects<Self>,
    ) {
        if let Some(refusal) = self.executor_refusal(key, executor) {
            for (task, _) in &tasks {
                self.report_orphan(now, task, refusal.clone());
            }
            self.executor_not_begun(key, out);
            return self.forget_framework_if_unused(&key.framework, out);
        }
        let group = tasks.iter().map(|(task, _)| task.task.clone()).collect();
        for (task, mut spec) in tasks {
            spec.executor = Some(Arc::clone(executor));
            let id = Some(executor.id.clone());
            self.take(now, task, spec, agent.clone(), id, out);
        }
        self.engage(now, key, executor, agent, Some(group), out);
    }

    /// Why an executor is given no more tasks.
    fn executor_refusal(&self, key: &ExecutorKey, executor: &ExecutorSpec) -> Option<News> {
        match self.custom_executors.get(key) {
            Some(there) if there.ending().is_some() => Some(News::agent(
                self.dropped(&key.framework),
                Reason::ExecutorTerminated,
                format!("executor {} is being ended", executor.id),
            )),
            Some(there) if there.spec.original != executor.original => Some(News::agent(
                TaskState::Error,
                Reason::TaskInvalid,
                format!(
                    "executor {} runs here with another description",
                    executor.id
                ),
            )),
            Some(_) => None,
            None => self.no_more_executors(),
        }
    }

    /// Tasks were taken for an executor: it is started if it is not there, and told of them once it listens.
    fn engage(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        executor: &Arc<ExecutorSpec>,
        agent: AgentId,
        group: Option<Vec<TaskId>>,
        out: &mut Effects<Self>,
    ) {
        let is_there = self.custom_executors.get(key).is_some();
        if !is_there {
            self.start_executor(now, key.clone(), executor, agent, out);
        }
        if let Some(group) = group {
            self.custom_executors
                .edit(key, |one| one.groups.push(group));
            self.store_custom_executor(key, out);
        }
        if is_there {
            self.hand_over(key, out);
            self.widen(key, out);
        }
    }

    fn no_more_executors(&self) -> Option<News> {
        (self.custom_executors.len() >= MAX_CUSTOM_EXECUTORS).then(|| {
            News::agent(
                TaskState::Failed,
                Reason::ContainerLaunchFailed,
                format!("the agent has {MAX_CUSTOM_EXECUTORS} executors, more than that it does not take"),
            )
        })
    }

    fn start_executor(
        &mut self,
        now: Timestamp,
        key: ExecutorKey,
        spec: &Arc<ExecutorSpec>,
        agent: AgentId,
        out: &mut Effects<Self>,
    ) {
        let framework = self.tasks.framework(&key.framework);
        let Some(framework) = framework.map(|framework| Arc::clone(&framework.info)) else {
            error!(executor = %key.executor, framework = %key.framework, "executor of a framework that is not known");
            return;
        };
        let given = self.given_to(&key, spec);
        let Some((pseudo, program)) = program(&key.framework, spec, &agent, given) else {
            error!(executor = %key.executor, "the id of an executor is none of a task");
            return;
        };
        let mem_bytes = bytes_of(program.resources.flat().mem_milli);
        let executor = self.custom_executors.insert(CustomExecutor {
            key,
            spec: Arc::clone(spec),
            container: self.names.container(),
            agent,
            since: now,
            phase: ExecutorPhase::Starting,
            stream: None,
            mem_bytes,
            groups: Vec::new(),
        });
        info!(executor = %executor.key.executor, framework = %executor.key.framework, container = %executor.container, "executor is started");
        out.act.push(Action::ForExecutor(ForExecutor::Launch {
            key: pseudo,
            executor: Arc::clone(&executor),
            program: Arc::new(program),
            framework,
            shutdown_grace: shutdown_grace(spec),
        }));
        out.store.push(Record::CustomExecutor(executor));
    }

    /// What an executor and its live tasks take.
    fn given_to(&self, key: &ExecutorKey, spec: &ExecutorSpec) -> Resources {
        let tasks = self.live_tasks_of(key);
        tasks.iter().fold(spec.resources.clone(), |sum, task| {
            sum.plus(&task.spec.resources)
        })
    }

    /// An executor with another task may use more.
    fn widen(&mut self, key: &ExecutorKey, out: &mut Effects<Self>) {
        let Some(spec) = self
            .custom_executors
            .get(key)
            .map(|one| Arc::clone(&one.spec))
        else {
            return;
        };
        let given = self.given_to(key, &spec);
        let (cpus_milli, mem_bytes) = (given.flat().cpus_milli, bytes_of(given.flat().mem_milli));
        let widened = self.custom_executors.edit(key, |one| {
            one.mem_bytes = one.mem_bytes.max(mem_bytes);
        });
        if let Some(one) = widened {
            out.act.push(Action::ForExecutor(ForExecutor::Widen {
                container: one.container.clone(),
                cpus_milli,
                mem_bytes: one.mem_bytes,
            }));
        }
    }

    /// Gives an executor that listens the tasks that wait for it, in the order in which they came; those of a group together.
    pub(super) fn hand_over(&mut self, key: &ExecutorKey, out: &mut Effects<Self>) {
        let executor = self.custom_executors.get(key);
        let Some((link, groups)) = executor.and_then(|one| Some((one.stream?, one.groups.clone())))
        else {
            return;
        };
        let mut waiting = self.live_tasks_of(key);
        waiting.retain(|task| task.phase == Phase::Accepted);
        waiting.sort_by_key(|task| task.accepted_at);
        while !waiting.is_empty() {
            let first = waiting.remove(0);
            let group = groups.iter().find(|all| all.contains(&first.key.task));
            let event = match group {
                None => {
                    self.handed_over(&first.key);
                    ToExecutor::Launch(Arc::clone(&first.spec))
                }
                Some(group) => {
                    let place = |task: &Arc<Task>| group.iter().position(|id| *id == task.key.task);
                    let (mut all, others): (Vec<_>, Vec<_>) = std::iter::once(first)
                        .chain(waiting)
                        .partition(|task| place(task).is_some());
                    waiting = others;
                    all.sort_by_key(place);
                    all.iter().for_each(|task| self.handed_over(&task.key));
                    ToExecutor::LaunchGroup(all.iter().map(|task| Arc::clone(&task.spec)).collect())
                }
            };
            let event = Box::new(event);
            out.act
                .push(Action::ForExecutor(ForExecutor::Tell { link, event }));
        }
        if !groups.is_empty() {
            self.custom_executors.edit(key, |one| one.groups.clear());
            self.store_custom_executor(key, out);
        }
    }

    fn handed_over(&mut self, task: &TaskKey) {
        self.tasks.edit(task, |task| task.phase = Phase::Delegated);
        self.changed.insert(task.clone());
    }

    /// A task of a group that waits for its executor has ended: the others never begin.
    pub(super) fn group_given_up(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        ended: &TaskId,
        out: &mut Effects<Self>,
    ) {
        let mut group = Vec::new();
        self.custom_executors.edit(key, |one| {
            let at = one.groups.iter().position(|all| all.contains(ended));
            group = at.map(|at| one.groups.remove(at)).unwrap_or_default();
        });
        if group.is_empty() {
            return;
        }
        self.store_custom_executor(key, out);
        for task in group.into_iter().filter(|task| task != ended) {
            let framework = key.framework.clone();
            let note = format!("task {ended} of its group ended before the group had begun");
            let other = TaskKey { framework, task };
            self.kill(now, &other, None, Why::Group, Some(note), out);
        }
    }

    /// The tasks of an executor of a framework's own that have not ended.
    pub(super) fn live_tasks_of(&self, key: &ExecutorKey) -> Vec<Arc<Task>> {
        let of_framework = self.tasks.of(&key.framework);
        let its = of_framework.filter(|task| {
            task.is_live() && task.is_delegated() && task.executor.as_ref() == Some(&key.executor)
        });
        its.map(Arc::clone).collect()
    }
}

/// From SHUTDOWN to SIGKILL.
pub(super) fn shutdown_grace(spec: &ExecutorSpec) -> std::time::Duration {
    spec.shutdown_grace_period.unwrap_or(DEFAULT_SHUTDOWN_GRACE)
}

/// An executor as something to be launched: it has the name of a task, and nobody kills it as one.
fn program(
    framework: &FrameworkId,
    spec: &ExecutorSpec,
    agent: &AgentId,
    resources: Resources,
) -> Option<(TaskKey, TaskSpec)> {
    let id = TaskId::new(spec.id.as_str()).ok()?;
    let key = TaskKey {
        framework: framework.clone(),
        task: id.clone(),
    };
    let command = spec.command.clone();
    let program = TaskSpec {
        name: spec.name.clone(),
        container: spec.container.clone(),
        ..TaskSpec::new(
            id,
            agent.clone(),
            resources,
            command.unwrap_or_else(|| CommandSpec::shell("")),
        )
    };
    Some((key, program))
}

/// What a framework said of itself, as an executor is told.
pub(super) fn info_of(node: &Node, framework: &FrameworkId) -> Option<Arc<FrameworkInfo>> {
    let known = node.tasks.framework(framework);
    known.map(|known| Arc::clone(&known.info))
}
