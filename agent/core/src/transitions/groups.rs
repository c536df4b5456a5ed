//! Tasks of a group: accepted together, begun in order, ended together.
//!
//! ```text
//! group accepted ─▶ first init task ─▶ … ─▶ last init task ─▶ all others at once
//!      a task ends with success: the others go on        a task ends otherwise: the others are killed
//! ```

use std::sync::Arc;

use mete_model::container::PortMapping;
use mete_model::{
    AgentId, Effects, ExecutorId, ExecutorKind, ExecutorSpec, FrameworkInfo, Reason, Resources,
    TaskGroup, TaskId, TaskKey, TaskSpec, TaskState, TaskStatus, Timestamp,
};
use tracing::{debug, error, info};

use super::report::News;
use crate::effects::Action;
use crate::node::Node;
use crate::record::Record;
use crate::state::executors::{Executor, ExecutorKey, Group};
use crate::state::past::PastExecutor;
use crate::state::sandboxes::Sandbox;
use crate::state::tasks::{Task, Why};

impl Node {
    /// The master asks for a group: all of it is accepted, or nothing. Asking again for one of which a task is known changes
    /// nothing.
    pub(crate) fn run_group(
        &mut self,
        now: Timestamp,
        info: FrameworkInfo,
        group: TaskGroup,
        out: &mut Effects<Self>,
    ) {
        let Some(framework) = info.id.clone() else {
            error!(executor = %group.executor.id, "group for a framework without id is ignored");
            return;
        };
        let TaskGroup { executor, tasks } = group;
        let keys: Vec<_> = tasks
            .iter()
            .map(|spec| TaskKey {
                framework: framework.clone(),
                task: spec.id.clone(),
            })
            .collect();
        let known = |key: &&TaskKey| self.tasks.get(key).is_some() || self.updates.has(key);
        let known: Vec<_> = keys.iter().filter(known).cloned().collect();
        if !known.is_empty() {
            debug!(executor = %executor.id, %framework, "launch of a known group changes nothing");
            self.changed.extend(known);
            return;
        }
        let refusal = self.refusal(&framework, tasks.len());
        let mut held = tasks.iter().map(|spec| &spec.resources);
        let refusal = refusal.or_else(|| held.find_map(|held| self.volume_refusal(held)));
        let key = ExecutorKey {
            framework: framework.clone(),
            executor: executor.id.clone(),
        };
        // The network of such an executor is made by what came first; one of the framework's own is launched as a task is.
        let is_first = executor.kind == ExecutorKind::Default && self.executors.get(&key).is_none();
        let refusal = match is_first {
            true => refusal
                .or_else(|| foreign_port(&executor, &tasks))
                .or_else(|| self.volume_refusal(&executor.resources)),
            false => refusal,
        };
        if let Some(refusal) = refusal {
            for key in &keys {
                self.report_orphan(now, key, refusal.clone());
            }
            if executor.kind == ExecutorKind::Custom {
                self.executor_not_begun(&key, out);
            }
            return;
        }
        let Some(agent) = self.identity.agent.clone() else {
            error!(executor = %executor.id, "group for an agent without id is ignored");
            return;
        };
        self.learn_framework(&framework, info, out);
        if executor.kind == ExecutorKind::Custom {
            let tasks = keys.into_iter().zip(tasks).collect();
            return self.delegate_group(now, &key, &Arc::new(executor), tasks, agent, out);
        }
        self.keep_volumes(now, &executor.resources, out);
        self.join_executor(now, &key, executor, &agent, group_of(&tasks));
        self.store_executor(&key, out);
        for (task, spec) in keys.into_iter().zip(tasks) {
            let executor = Some(key.executor.clone());
            self.take(now, task, spec, agent.clone(), executor, out);
        }
    }

    /// Puts a group below its executor, which is there from now on if it was not.
    fn join_executor(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        spec: ExecutorSpec,
        agent: &AgentId,
        group: Group,
    ) {
        if self.executors.get(key).is_none() {
            let container = self.names.container();
            self.executors.insert(Executor {
                key: key.clone(),
                spec: Arc::new(spec),
                container,
                agent: agent.clone(),
                since: now,
                groups: Vec::new(),
            });
        }
        let lives = |task: &TaskId| {
            let key = TaskKey {
                framework: key.framework.clone(),
                task: task.clone(),
            };
            self.tasks.get(&key).is_some_and(|task| task.is_live())
        };
        if let Some(executor) = self.executors.edit(key) {
            // So that an executor that is given group after group does not grow.
            executor
                .groups
                .retain(|group| group.tasks.iter().any(lives));
            executor.groups.push(group);
        }
    }

    fn store_executor(&self, key: &ExecutorKey, out: &mut Effects<Self>) {
        if let Some(executor) = self.executors.get(key) {
            out.store.push(Record::Executor(Arc::clone(executor)));
        }
    }

    /// Whether a task may be launched: one of a group waits for its turn, one for an executor is never launched by the agent.
    pub(super) fn is_its_turn(&self, task: &Task) -> bool {
        if task.is_delegated() {
            return false;
        }
        let Some(key) = executor_of(task) else {
            return true;
        };
        let executor = self.executors.get(&key);
        let group = executor.and_then(|executor| executor.group_of(&task.key.task));
        group.is_none_or(|group| group.is_turn_of(&task.key.task))
    }

    /// A task has ended: if it belongs to a group, that goes on or ends; with its last task an executor is over.
    pub(super) fn group_goes_on(
        &mut self,
        now: Timestamp,
        task: &Task,
        news: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let Some(key) = executor_of(task) else { return };
        let id = &task.key.task;
        let executor = self.executors.edit(&key);
        let Some(group) = executor.and_then(|executor| executor.group_of_mut(id)) else {
            return;
        };
        if news.state == TaskState::Finished {
            if group.init.contains(id) {
                group.done.insert(id.clone());
            }
        } else if group.failed.is_none() {
            group.failed = Some(id.clone());
            let others = group.tasks.clone();
            let note = note(id, news);
            self.store_executor(&key, out);
            self.end_others(now, &key, id, &others, &note, out);
        }
        self.settle_executor(now, &key, out);
    }

    fn end_others(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        ended: &TaskId,
        tasks: &[TaskId],
        note: &str,
        out: &mut Effects<Self>,
    ) {
        info!(executor = %key.executor, framework = %key.framework, task = %ended, "group ends with one of its tasks");
        for task in tasks.iter().filter(|task| *task != ended) {
            let other = TaskKey {
                framework: key.framework.clone(),
                task: task.clone(),
            };
            let live = self.tasks.get(&other).is_some_and(|task| task.is_live());
            if live {
                self.kill(now, &other, None, Why::Group, Some(note.to_owned()), out);
            }
        }
    }

    /// Stores what has changed of an executor; one without live tasks is over, its sandbox is kept.
    fn settle_executor(&mut self, now: Timestamp, key: &ExecutorKey, out: &mut Effects<Self>) {
        let lives = |task: &Arc<Task>| {
            task.is_live() && executor_of(task).is_some_and(|other| other == *key)
        };
        if self.tasks.iter().any(lives) {
            self.store_executor(key, out);
            return;
        }
        let Some(executor) = self.executors.remove(key) else {
            return;
        };
        self.counters.executors_ended += 1;
        info!(executor = %key.executor, framework = %key.framework, "executor is over");
        out.store.push(Record::ExecutorGone(key.clone()));
        let Ok(task) = TaskId::new(key.executor.as_str()) else {
            return;
        };
        let framework = key.framework.clone();
        let key = TaskKey { framework, task };
        out.act.push(Action::ReleaseExecutor {
            key: key.clone(),
            container: executor.container.clone(),
        });
        let note = "executor of a group; all its tasks have ended".to_owned();
        let past = PastExecutor {
            framework: executor.key.framework.clone(),
            container: executor.container.clone(),
            spec: Arc::clone(&executor.spec),
        };
        self.remember_executor(now, key, executor.agent.clone(), past, note, out);
    }

    /// An executor is over: its sandbox is kept, under a name as a task has it, and what it was remembered.
    pub(super) fn remember_executor(
        &mut self,
        now: Timestamp,
        key: TaskKey,
        agent: AgentId,
        executor: PastExecutor,
        note: String,
        out: &mut Effects<Self>,
    ) {
        let sandbox = Sandbox {
            key,
            name: executor.spec.name.clone(),
            is_executor: true,
            container: executor.container.clone(),
            within: None,
            agent,
            ended_at: now,
            state: TaskState::Finished,
            message: Some(note),
        };
        out.store
            .push(Record::SandboxKept(Arc::new(sandbox.clone())));
        self.sandboxes.keep(sandbox);
        self.past.executor(executor);
    }

    /// What a task of a group shares with the others.
    pub(super) fn parent_of(&self, task: &Task) -> Option<Arc<Executor>> {
        self.executors.get(&executor_of(task)?).map(Arc::clone)
    }
}

fn executor_of(task: &Task) -> Option<ExecutorKey> {
    let executor: ExecutorId = task.executor.clone()?;
    Some(ExecutorKey {
        framework: task.key.framework.clone(),
        executor,
    })
}

/// A group opens only ports of the host that its executor was given, or one of the tasks that begin it. Those of a task may be
/// another's when it has ended, while the network is there as long as the executor: they then lead to whoever opens them last.
fn foreign_port(executor: &ExecutorSpec, tasks: &[TaskSpec]) -> Option<News> {
    let network = &executor.container.as_ref()?.network;
    let own = std::iter::once(&executor.resources);
    let all = own.chain(tasks.iter().map(|task| &task.resources));
    let given: Vec<_> = all.map(Resources::flat).collect();
    let is_given =
        |port: &PortMapping| given.iter().any(|one| one.ports.contains(port.host.into()));
    let foreign = network.ports().iter().find(|port| !is_given(port))?;
    let (host, inside) = (foreign.host, foreign.container);
    Some(News::agent(
        TaskState::Failed,
        Reason::ContainerLaunchFailed,
        format!(
            "port {host} of the host, mapped to {inside}, is none of the executor's or of its tasks'"
        ),
    ))
}

/// The master has refused labels that say neither yes nor no; here they count as no.
fn group_of(tasks: &[TaskSpec]) -> Group {
    let init = tasks.iter().filter(|spec| spec.is_init() == Ok(true));
    Group {
        tasks: tasks.iter().map(|spec| spec.id.clone()).collect(),
        init: init.map(|spec| spec.id.clone()).collect(),
        ..Group::default()
    }
}

/// What the others are told.
fn note(ended: &TaskId, news: &TaskStatus) -> String {
    let how = if news.state == TaskState::Killed {
        "was killed"
    } else {
        "failed"
    };
    match &news.message {
        Some(message) => format!("task {ended} of its group {how} ({message})"),
        None => format!("task {ended} of its group {how}"),
    }
}
