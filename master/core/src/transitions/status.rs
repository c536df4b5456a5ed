//! An update goes up, an acknowledgement goes down.
//!
//! Updates of agents carry an id and are repeated by the agent until their framework acknowledges them: the master passes
//! both on and keeps neither queue nor timer. What the master says itself carries no id and is said once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use mete_model::{
    AgentId, Capability, FrameworkId, FrameworkInfo, Reason, Source, TaskId, TaskKey, TaskState,
    TaskStatus, Timestamp, UpdateId,
};
use tracing::{debug, info, warn};

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, MessageToAgent, Refusal};
use crate::input::{LinkId, TaskName, Update};
use crate::state::deadlines::Due;
use crate::state::tasks;

impl Cluster {
    pub(crate) fn update(&mut self, agent: &AgentId, link: LinkId, update: Update, out: &mut Out) {
        if self.agents.on_link(agent, link).is_none() {
            self.count().stale_messages += 1;
            return;
        }
        self.count().updates_received += 1;
        self.take_update(agent, update, out);
    }

    /// Takes news from an agent that is connected. News of a task that is not known goes up all the same: its end was
    /// acknowledged once, and the acknowledgement did not reach the agent.
    pub(crate) fn take_update(&mut self, agent: &AgentId, mut update: Update, out: &mut Out) {
        let Some(framework) = self.frameworks.get(&update.framework) else {
            let key = tasks::key(&update.framework, &update.status.task);
            warn!(task = %key, %agent, "update for a framework that is not known");
            self.count().updates_dropped += 1;
            return;
        };
        let completed = framework.is_completed();
        // Names that share their text are not read to find that they are equal.
        let mut key = tasks::key(&framework.id, &update.status.task);
        self.note_drain(agent, &key, &mut update.status);
        if let Some(task) = self.tasks.get(&key) {
            if task.agent != *agent {
                warn!(task = %key, %agent, other = %task.agent, "update for a task that runs on another agent");
                self.count().updates_dropped += 1;
                self.acknowledge_in_its_place(agent, &key, update.status.uuid, out);
                return;
            }
            key = task.key.clone();
        } else if update.is_of_the_end() && self.tasks.was_ended_by_master(agent, &key) {
            debug!(task = %key, %agent, "its end was told by the master");
            self.acknowledge_in_its_place(agent, &key, update.status.uuid, out);
            return;
        }
        let status = self.note_update(&key, update.status, update.latest);
        if completed {
            self.acknowledge_in_its_place(agent, &key, status.uuid, out);
            if status.state.is_terminal() {
                self.orphan_over(agent, &key, out);
            }
            return;
        }
        self.forward(&key.framework, status, update.original, out);
    }

    /// Moves the task, if there is one, to where the news says it is; the news as it is kept.
    fn note_update(
        &mut self,
        key: &TaskKey,
        status: TaskStatus,
        latest: Option<TaskState>,
    ) -> Arc<TaskStatus> {
        let Some(task) = self.tasks.get_mut(key) else {
            return Arc::new(status);
        };
        let held = task.holds_resources();
        let latest = latest.unwrap_or(status.state);
        if task.state != latest && task.state.may_become(latest) {
            let from = task.state;
            if latest.is_terminal() && !matches!(latest, TaskState::Finished | TaskState::Killed) {
                info!(task = %key, agent = %task.agent, %from, to = %latest, "task ended badly");
            } else {
                // Of these there may be ten thousand a second.
                debug!(task = %key, agent = %task.agent, %from, to = %latest, "task changed state");
            }
            task.state = latest;
        }
        if let Some(uuid) = status.uuid {
            task.unacknowledged = Some((uuid, status.state));
        }
        let status = task.note(status);
        if held && !task.holds_resources() {
            self.count().task_ended(latest, &status);
            self.release(key);
        }
        status
    }

    /// What a task that has just ended used is free.
    fn release(&mut self, key: &TaskKey) {
        self.deadlines.clear(&Due::Kill(key.clone()));
        if let Some(task) = self.tasks.get(key).map(Arc::clone) {
            self.allocator.release(
                &task.agent,
                &key.framework,
                &task.role,
                &task.spec.resources,
            );
            self.leave_executor(&task);
        }
    }

    fn forward(
        &mut self,
        framework: &FrameworkId,
        status: Arc<TaskStatus>,
        original: Bytes,
        out: &mut Out,
    ) {
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let event = Event::Update {
            status: as_understood(&known.info, status),
            original: Some(original),
        };
        if !self.tell_framework(framework, event, out) {
            self.count().updates_dropped += 1;
        }
    }

    /// Acknowledges an update that no framework will ever acknowledge.
    pub(crate) fn acknowledge_in_its_place(
        &self,
        agent: &AgentId,
        key: &TaskKey,
        uuid: Option<UpdateId>,
        out: &mut Out,
    ) {
        if let Some(uuid) = uuid {
            let message = MessageToAgent::Acknowledge {
                framework: key.framework.clone(),
                task: key.task.clone(),
                uuid,
            };
            self.tell_agent(agent, message, out);
        }
    }

    /// Passes an acknowledgement down. Without its agent there nothing happens: the agent will bring the update again.
    pub(crate) fn acknowledge(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        task: &TaskId,
        uuid: UpdateId,
        out: &mut Out,
    ) {
        let key = tasks::key(framework, task);
        let known = self.tasks.get(&key);
        let elsewhere = known.is_some_and(|task| task.agent != *agent);
        let waiting = known.and_then(|task| task.unacknowledged);
        let message = MessageToAgent::Acknowledge {
            framework: framework.clone(),
            task: task.clone(),
            uuid,
        };
        if elsewhere || !self.tell_agent(agent, message, out) {
            debug!(task = %key, %agent, %uuid, "acknowledgement cannot be passed on");
            self.count().acknowledgements_invalid += 1;
            return;
        }
        self.count().acknowledgements += 1;
        let Some((_, state)) = waiting.filter(|(waiting, _)| *waiting == uuid) else {
            return;
        };
        if state.is_terminal() {
            self.tasks.archive(&key);
        } else if let Some(task) = self.tasks.get_mut(&key) {
            task.unacknowledged = None;
        }
    }

    /// Ends a task by the master's word: told once, never acknowledged, so there is nothing to wait for.
    pub(crate) fn end_task(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        (state, reason): (TaskState, Reason),
        message: &str,
        out: &mut Out,
    ) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if !task.holds_resources() {
            self.tasks.archive(key);
            return;
        }
        info!(task = %key, agent = %task.agent, from = %task.state, to = %state, "task ended by the master");
        task.state = state;
        let mut status = task.status_by_master(now);
        status.reason = Some(reason);
        status.message = Some(message.to_owned());
        let status = task.note(status);
        self.count().task_ended(state, &status);
        self.release(key);
        self.tasks.archive(key);
        self.answer(&key.framework, status, out);
    }

    /// Tells a framework what the master has to say of a task; when it is not there, it will ask once it is back.
    pub(crate) fn answer(
        &self,
        framework: &FrameworkId,
        status: impl Into<Arc<TaskStatus>>,
        out: &mut Out,
    ) {
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let event = Event::Update {
            status: as_understood(&known.info, status.into()),
            original: None,
        };
        self.tell_framework(framework, event, out);
    }

    /// A framework is in: agents tell it at once what it has not acknowledged, and do not wait until they would have repeated
    /// it (so in Mesos).
    pub(crate) fn ask_for_updates(&mut self, framework: &FrameworkId, out: &mut Out) {
        let waiting = self.tasks.of_framework(framework);
        let waiting = waiting.filter(|task| task.unacknowledged.is_some());
        let agents: BTreeSet<AgentId> = waiting.map(|task| task.agent.clone()).collect();
        for agent in agents {
            let framework = framework.clone();
            self.tell_agent(&agent, MessageToAgent::ResendUpdates { framework }, out);
        }
    }

    /// Answers a task that never was one.
    pub(crate) fn refuse_task(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        name: TaskName,
        mut refusal: Refusal,
        out: &mut Out,
    ) {
        info!(%framework, task = ?name, why = refusal.why, "task refused");
        self.count()
            .ended(refusal.state, Source::Master, Some(refusal.reason));
        match name {
            TaskName::Good(task) => {
                let mut status = TaskStatus::new(task, refusal.state, Source::Master, now);
                status.reason = Some(refusal.reason);
                status.message = Some(refusal.why);
                status.agent = refusal.agent;
                self.answer(framework, status, out);
            }
            TaskName::Bad(name) => {
                if let Some(known) = self.frameworks.get(framework) {
                    refusal.state = understood(&known.info, refusal.state);
                }
                let at = now;
                let event = Event::Misnamed { name, refusal, at };
                self.tell_framework(framework, event, out);
            }
        }
    }
}

impl Update {
    /// Whether the task is over by now.
    fn is_of_the_end(&self) -> bool {
        self.latest.unwrap_or(self.status.state).is_terminal()
    }
}

/// A report in the words that a framework knows.
fn as_understood(framework: &FrameworkInfo, mut status: Arc<TaskStatus>) -> Arc<TaskStatus> {
    let state = understood(framework, status.state);
    if state != status.state {
        Arc::make_mut(&mut status).state = state;
    }
    status
}

/// A state in the words that a framework knows: those of the old kind know LOST for all that has become of lost tasks.
pub(crate) fn understood(framework: &FrameworkInfo, state: TaskState) -> TaskState {
    if framework.can(Capability::PartitionAware) {
        return state;
    }
    match state {
        TaskState::Dropped
        | TaskState::Unreachable
        | TaskState::Gone
        | TaskState::GoneByOperator
        | TaskState::Unknown => TaskState::Lost,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Lost => state,
    }
}
