//! A launch: accepted, begun, started or not.

use std::sync::Arc;

use mete_model::{
    AgentId, ContainerId, Effects, ExecutorId, FrameworkId, FrameworkInfo, Reason, TaskKey,
    TaskSpec, TaskState, TaskStatus, Timestamp,
};
use tracing::{debug, error};

use super::kill::KILLED_EARLY;
use super::probe::terms;
use super::report::News;
use crate::effects::Action;
use crate::input::{LaunchOutcome, LaunchStage};
use crate::node::Node;
use crate::record::Record;
use crate::state::executors::ExecutorKey;
use crate::state::tasks::{Described, Framework, MAX_TASKS, Phase, Task};

/// Launch jobs under way at once. A job is mostly waiting, for a download or for its turn, and one that waits for a registry that
/// hangs must not hold up others: so many are more than a machine has tasks. What costs the machine something has turns in
/// the shell.
const MAX_LAUNCHES_AT_ONCE: usize = 1_000;

impl Node {
    /// The master asks for a task. Asking again for one that is known changes nothing.
    pub(crate) fn run(
        &mut self,
        now: Timestamp,
        info: FrameworkInfo,
        spec: TaskSpec,
        out: &mut Effects<Self>,
    ) {
        let Some(framework) = info.id.clone() else {
            error!(task = %spec.id, "launch for a framework without id is ignored");
            return;
        };
        let key = TaskKey {
            framework,
            task: spec.id.clone(),
        };
        if self.tasks.get(&key).is_some() || self.updates.has(&key) {
            debug!(task = %key.task, framework = %key.framework, "launch of a known task changes nothing");
            self.changed.insert(key);
            return;
        }
        let refusal = self.refusal(&key.framework, 1);
        if let Some(refusal) = refusal.or_else(|| self.volume_refusal(&spec.resources)) {
            self.report_orphan(now, &key, refusal);
            if let Some(executor) = &spec.executor {
                let executor = ExecutorKey {
                    framework: key.framework,
                    executor: executor.id.clone(),
                };
                self.executor_not_begun(&executor, out);
            }
            return;
        }
        let Some(agent) = self.identity.agent.clone() else {
            error!(task = %key.task, "launch for an agent without id is ignored");
            return;
        };
        self.learn_framework(&key.framework, info, out);
        match spec.executor.clone() {
            Some(executor) => self.delegate(now, key, spec, &executor, agent, out),
            None => self.take(now, key, spec, agent, None, out),
        }
    }

    /// Accepts a task.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        key: TaskKey,
        spec: TaskSpec,
        agent: AgentId,
        executor: Option<ExecutorId>,
        out: &mut Effects<Self>,
    ) {
        self.keep_volumes(now, &spec.resources, out);
        let (state, source) = (TaskState::Staging, mete_model::Source::Agent);
        let mut latest = TaskStatus::new(key.task.clone(), state, source, now);
        latest.agent = Some(agent.clone());
        let task = Task {
            container: self.names.container(),
            key: key.clone(),
            spec: Arc::new(spec),
            agent,
            executor,
            accepted_at: now,
            started_at: None,
            phase: Phase::Accepted,
            addresses: Vec::new(),
            described: Described::default(),
            ailment: None,
            latest,
        };
        out.store.push(Record::Accepted(Arc::new(task.clone())));
        self.tasks.insert(task);
        self.changed.insert(key);
    }

    /// Why so many more tasks cannot be launched now.
    pub(super) fn refusal(&self, framework: &FrameworkId, more: usize) -> Option<News> {
        let message = if self.stopping.is_some() {
            "the agent is ending".to_owned()
        } else if self.disk.is_full() {
            let free = self.disk.space().map_or(0, |space| space.free_bytes);
            format!(
                "the disk of the agent's work directory is full: {} MB free, {} MB are kept in reserve",
                free >> 20,
                self.settings.disk_reserve_bytes >> 20
            )
        } else if self.tasks.len() + more > MAX_TASKS {
            format!("the agent has {MAX_TASKS} tasks, more than that it does not take")
        } else if self
            .tasks
            .framework(framework)
            .is_some_and(|framework| framework.leaving)
        {
            "the framework is being shut down on this agent".to_owned()
        } else {
            return None;
        };
        Some(News::agent(
            TaskState::Failed,
            Reason::ContainerLaunchFailed,
            message,
        ))
    }

    /// The master asks for a task that this agent has no way to run, perhaps for an executor of the framework's own.
    pub(crate) fn unrunnable(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        executor: Option<&ExecutorKey>,
        reason: String,
        out: &mut Effects<Self>,
    ) {
        let news = News::agent(TaskState::Error, Reason::TaskInvalid, reason);
        self.report_orphan(now, key, news);
        if let Some(executor) = executor {
            self.executor_not_begun(executor, out);
        }
    }

    /// The same for the tasks of a group.
    pub(crate) fn unrunnable_group(
        &mut self,
        now: Timestamp,
        keys: &[TaskKey],
        executor: Option<&ExecutorKey>,
        reason: &str,
        out: &mut Effects<Self>,
    ) {
        for key in keys {
            let news = News::agent(
                TaskState::Error,
                Reason::TaskGroupInvalid,
                reason.to_owned(),
            );
            self.report_orphan(now, key, news);
        }
        if let Some(executor) = executor {
            self.executor_not_begun(executor, out);
        }
    }

    /// A framework that has something here says other things of itself.
    pub(crate) fn framework_changed(&mut self, info: FrameworkInfo, out: &mut Effects<Self>) {
        let Some(id) = info.id.clone() else {
            return;
        };
        let known = self.tasks.framework(&id);
        if known.is_some_and(|known| !known.leaving) {
            self.learn_framework(&id, info, out);
        }
    }

    pub(super) fn learn_framework(
        &mut self,
        id: &FrameworkId,
        info: FrameworkInfo,
        out: &mut Effects<Self>,
    ) {
        if self
            .tasks
            .framework(id)
            .is_some_and(|known| *known.info == info)
        {
            return;
        }
        let info = Arc::new(info);
        out.store.push(Record::Framework {
            id: id.clone(),
            info: Arc::clone(&info),
            leaving: false,
        });
        let leaving = false;
        self.tasks
            .set_framework(id.clone(), Framework { info, leaving });
    }

    /// Begins as many launch jobs as may be under way, in the order in which the launches came.
    pub(crate) fn begin_launches(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let free = MAX_LAUNCHES_AT_ONCE.saturating_sub(self.tasks.launching());
        for key in self.tasks.waiting(free, |task| self.is_its_turn(task)) {
            let framework = self.tasks.framework(&key.framework);
            let Some(framework) = framework.map(|framework| Arc::clone(&framework.info)) else {
                continue;
            };
            let parent = self.tasks.get(&key).and_then(|task| self.parent_of(task));
            let launch = self.tasks.edit(&key, |task| {
                task.phase = Phase::Starting;
                let spec = Arc::clone(&task.spec);
                if spec.tells_secrets() {
                    Arc::make_mut(&mut task.spec).forget_secrets(); // Whoever launches it has them.
                }
                Action::Launch {
                    key: key.clone(),
                    container: task.container.clone(),
                    agent: task.agent.clone(),
                    spec,
                    framework,
                    parent,
                }
            });
            out.act.extend(launch);
            self.report(now, &key, News::executor(TaskState::Starting));
        }
    }

    /// A launch job says how far it is. Told on only when nothing else waits to be told of the task: a master that is slow or
    /// away hears of the last state, not of all.
    pub(crate) fn launching(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        container: &ContainerId,
        how_far: String,
    ) {
        let task = self.tasks.run(key, container);
        let is_starting = task.is_some_and(|task| matches!(task.phase, Phase::Starting));
        if is_starting && !self.updates.has(key) {
            let mut news = News::executor(TaskState::Starting);
            news.message = Some(how_far);
            self.report(now, key, news);
        }
    }

    /// It is known where in the network a task is; its reports say so from now on.
    pub(crate) fn addressed(
        &mut self,
        key: &TaskKey,
        container: &ContainerId,
        addresses: Vec<String>,
        described: Described,
    ) {
        if self.tasks.run(key, container).is_some() {
            self.tasks.edit(key, |task| {
                task.addresses = addresses;
                task.described = described;
            });
            self.changed.insert(key.clone());
        }
    }

    /// A launch job has ended.
    pub(crate) fn launched(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        container: &ContainerId,
        outcome: LaunchOutcome,
        out: &mut Effects<Self>,
    ) {
        if let Some(executor) = self.executor_in(container) {
            return self.executor_launched(now, &executor, outcome, out);
        }
        let Some(task) = self.tasks.run(key, container).map(Arc::clone) else {
            return;
        };
        match (&task.phase, outcome) {
            (Phase::Starting, LaunchOutcome::Started) => self.started(now, key),
            (Phase::Starting, LaunchOutcome::Failed { stage, reason }) => {
                self.counters.launches_failed += 1;
                let message = not_launched(container, stage, &reason);
                let news = News::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message);
                self.end(now, key, news, out);
            }
            (Phase::Killing(_), LaunchOutcome::Started) => self.started_too_late(now, key, out),
            (Phase::Killing(kill), LaunchOutcome::Failed { .. }) => {
                let message = kill.note.clone().unwrap_or_else(|| KILLED_EARLY.to_owned());
                let news = News::agent(TaskState::Killed, Reason::TaskKilledDuringLaunch, message);
                self.end(now, key, news, out);
            }
            (Phase::Accepted | Phase::Running | Phase::Delegated | Phase::Ended { .. }, _) => {
                debug!(task = %key.task, framework = %key.framework, "late end of a launch job is ignored");
            }
        }
    }

    fn started(&mut self, now: Timestamp, key: &TaskKey) {
        self.runs(now, key, now, None);
        let mut status = self.status(now, key, News::executor(TaskState::Running));
        let said = self.tasks.edit(key, |task| task.described.at_start.take());
        let Some(said) = said.flatten() else {
            return self.report_status(key, status);
        };
        status.original = Some(said);
        self.report_status(key, status);
        // Told once; what is kept is what each report says.
        self.tasks.edit(key, |task| {
            task.latest.original.clone_from(&task.described.always);
        });
    }

    /// A task runs since `since`: its health is looked after.
    pub(super) fn runs(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        since: Timestamp,
        healthy: Option<bool>,
    ) {
        let spec = self.tasks.edit(key, |task| {
            task.phase = Phase::Running;
            task.started_at = Some(since);
            Arc::clone(&task.spec)
        });
        let Some(spec) = spec else {
            return;
        };
        if let Some(check) = &spec.health_check {
            self.probes.begin(now, key, check, since, healthy);
        }
        if let Some(check) = &spec.check {
            self.checks.begin(now, key, &terms(check), since, None);
        }
        self.changed.insert(key.clone());
    }
}

/// Why a launch has failed. Scripts look for Mesos' words.
fn not_launched(container: &ContainerId, stage: LaunchStage, reason: &str) -> String {
    match stage {
        LaunchStage::Fetch => format!(
            "Failed to launch container: Failed to fetch all URIs for container '{container}': {reason}"
        ),
        LaunchStage::Sandbox
        | LaunchStage::Volumes
        | LaunchStage::Start
        | LaunchStage::Cancelled => format!("could not {}: {reason}", stage.as_str()),
    }
}
