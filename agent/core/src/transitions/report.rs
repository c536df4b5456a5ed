//! Reports: made, sent, acknowledged, sent again.

use mete_model::{
    CheckAnswer, ContainerId, Effects, ExecutorId, FrameworkId, Limitation, Reason, Source,
    TaskKey, TaskState, TaskStatus, Timestamp, UpdateId,
};
use tracing::{debug, info};

use crate::effects::{Action, Outgoing, Report};
use crate::node::Node;
use crate::record::Record;
use crate::state::executors::ExecutorKey;
use crate::state::tasks::Phase;
use crate::state::updates::Acknowledged;

/// What is new about a task.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) state: TaskState,
    pub(super) source: Source,
    pub(super) reason: Option<Reason>,
    pub(super) message: Option<String>,
    pub(super) healthy: Option<bool>,
    /// What its check was answered; `None`: as before.
    pub(super) check: Option<CheckAnswer>,
    pub(super) limitation: Option<Limitation>,
}

impl News {
    /// News as an executor tells them: there is one in every agent, built in.
    pub(super) const fn executor(state: TaskState) -> Self {
        Self {
            state,
            source: Source::Executor,
            reason: None,
            message: None,
            healthy: None,
            check: None,
            limitation: None,
        }
    }

    /// News that the agent itself tells, and why.
    pub(super) const fn agent(state: TaskState, reason: Reason, message: String) -> Self {
        Self {
            state,
            source: Source::Agent,
            reason: Some(reason),
            message: Some(message),
            healthy: None,
            check: None,
            limitation: None,
        }
    }
}

impl Node {
    /// Makes a report about a task that is here. Nobody is told of tasks whose framework is gone.
    pub(super) fn report(&mut self, now: Timestamp, key: &TaskKey, news: News) {
        let status = self.status(now, key, news);
        self.report_status(key, status);
    }

    /// The same with the words of whoever says so.
    pub(super) fn report_status(&mut self, key: &TaskKey, status: TaskStatus) {
        let leaving = self
            .tasks
            .framework(&key.framework)
            .is_some_and(|framework| framework.leaving);
        let latest = status.clone();
        let before = self
            .tasks
            .edit(key, |task| std::mem::replace(&mut task.latest, latest));
        let Some(before) = before else {
            return;
        };
        note(key, &before, &status);
        self.counters.reports += 1;
        if !leaving {
            self.updates.push(key, status);
        }
        self.changed.insert(key.clone());
    }

    /// Answers about a task that is not here, and is not kept here. Lives as long as the link, which is begun anew when there are
    /// too many of them: to the master, what a registration does not name is dropped.
    pub(super) fn report_orphan(&mut self, now: Timestamp, key: &TaskKey, news: News) {
        let status = self.status(now, key, news);
        // Who asked hears it. It is nothing to be seen to: updates that an agent tells again after a restart are answered for too.
        debug!(
            task = %key.task,
            framework = %key.framework,
            state = %status.state,
            because = status.message.as_deref(),
            "answered about a task that is not here"
        );
        if self.updates.push_orphan(key, status) {
            self.changed.insert(key.clone());
        } else {
            self.overrun = true;
        }
    }

    pub(super) fn status(&mut self, now: Timestamp, key: &TaskKey, news: News) -> TaskStatus {
        let own = self.tasks.get(key).map(|task| &task.addresses);
        let own = own.filter(|addresses| !addresses.is_empty()).cloned();
        let ip_addresses = own.unwrap_or_else(|| vec![self.settings.ip.clone()]);
        // As in Mesos, whatever is said of a task that has a check says how that stands, asked or not.
        let told = self.tasks.get(key).and_then(|task| {
            let unasked = || Some(task.spec.check.as_ref()?.question.unasked());
            task.latest.check.or_else(unasked)
        });
        let original = self.tasks.get(key);
        let original = original.and_then(|task| task.described.always.clone());
        let (executor, container) = self.place_of(key);
        TaskStatus {
            executor,
            container,
            check: news.check.or(told),
            reason: news.reason,
            message: news.message,
            agent: self.identity.agent.clone(),
            uuid: Some(self.names.update()),
            healthy: news.healthy,
            limitation: news.limitation,
            ip_addresses,
            original,
            ..TaskStatus::new(key.task.clone(), news.state, news.source, now)
        }
    }

    /// Who looks after a task, and what it runs in; a task that came alone is an executor of its own, as in Mesos.
    pub(super) fn place_of(&self, key: &TaskKey) -> (Option<ExecutorId>, Option<ContainerId>) {
        let Some(task) = self.tasks.get(key) else {
            return (None, None);
        };
        let Some(executor) = &task.executor else {
            return (
                ExecutorId::new(key.task.as_str()).ok(),
                Some(task.container.clone()),
            );
        };
        let around = self.custom_executors.get(&ExecutorKey {
            framework: key.framework.clone(),
            executor: executor.clone(),
        });
        let container = match around {
            Some(around) => Some(&around.container),
            // Its executor is over: what was said of it before holds.
            None if task.is_delegated() => task.latest.container.as_ref(),
            None => Some(&task.container),
        };
        (Some(executor.clone()), container.cloned())
    }

    /// TASK_DROPPED, or TASK_LOST for frameworks that do not know it.
    pub(super) fn dropped(&self, framework: &FrameworkId) -> TaskState {
        let understands = self
            .tasks
            .framework(framework)
            .is_some_and(|framework| framework.info.can(mete_model::Capability::PartitionAware));
        if understands {
            TaskState::Dropped
        } else {
            TaskState::Lost
        }
    }

    /// Sends the first report of a task unless it is in flight or there is no master.
    pub(crate) fn send(&mut self, now: Timestamp, key: &TaskKey, out: &mut Effects<Self>) {
        let Some(link) = self.link.registered() else {
            return;
        };
        if let Some(status) = self.updates.give(now, key) {
            self.send_on(link, key, status, out);
        }
    }

    /// The stream has room again: who has waited for it goes.
    pub(crate) fn reports_taken(
        &mut self,
        now: Timestamp,
        link: u64,
        total: u64,
        out: &mut Effects<Self>,
    ) {
        if self.link.registered() != Some(link) {
            return;
        }
        self.updates.taken(total);
        while let Some((key, status)) = self.updates.next_turn(now) {
            self.send_on(link, &key, status, out);
        }
    }

    /// A framework is back: what it has not acknowledged is sent now, and the waits for its acknowledgements begin anew.
    pub(crate) fn resend(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        out: &mut Effects<Self>,
    ) {
        for key in self.updates.begin_again(framework) {
            self.send(now, &key, out);
        }
    }

    fn send_on(&self, link: u64, key: &TaskKey, status: TaskStatus, out: &mut Effects<Self>) {
        let report = self.reported(key, status);
        let message = Box::new(Outgoing::Update(report));
        out.act.push(Action::Send { link, message });
    }

    /// A report with what has happened since.
    pub(super) fn reported(&self, key: &TaskKey, status: TaskStatus) -> Report {
        let latest = self.tasks.get(key).map(|task| task.latest.state);
        Report {
            framework: key.framework.clone(),
            latest: latest.filter(|latest| *latest != status.state),
            status,
        }
    }

    /// What has come up since the registration was sent goes after it.
    pub(super) fn send_all(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for key in self.updates.keys() {
            self.send(now, &key, out);
        }
    }

    /// Sends again what was not acknowledged in time.
    pub(crate) fn reports_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let Some(link) = self.link.registered() else {
            return;
        };
        for key in self.updates.take_overdue(now) {
            if let Some(status) = self.updates.give_again(now, &key) {
                debug!(task = %key.task, framework = %key.framework, state = %status.state, "report is sent again");
                self.send_on(link, &key, status, out);
            }
        }
    }

    /// The framework has dealt with a report: the next one may go; after the last one of an ended task it is forgotten.
    pub(crate) fn acknowledged(
        &mut self,
        key: &TaskKey,
        update: UpdateId,
        out: &mut Effects<Self>,
    ) {
        match self.updates.acknowledge(key, update) {
            Acknowledged::Stale => {
                debug!(task = %key.task, framework = %key.framework, %update, "acknowledgement of nothing in flight");
            }
            Acknowledged::Next => {
                self.changed.insert(key.clone());
            }
            Acknowledged::Empty => {
                let ended = self
                    .tasks
                    .get(key)
                    .is_some_and(|task| matches!(task.phase, Phase::Ended { .. }));
                if ended {
                    self.forget(key, out);
                } else {
                    self.changed.insert(key.clone());
                }
            }
        }
    }

    /// A task is over in every respect but its sandbox.
    pub(super) fn forget(&mut self, key: &TaskKey, out: &mut Effects<Self>) {
        if let Some(task) = self.tasks.remove(key) {
            self.past.task(task);
        }
        self.updates.forget(key);
        self.changed.remove(key);
        out.store.push(Record::Forgotten(key.clone()));
        self.forget_framework_if_unused(&key.framework, out);
    }

    /// A framework that has neither tasks nor executors here is not known any more.
    pub(super) fn forget_framework_if_unused(&mut self, id: &FrameworkId, out: &mut Effects<Self>) {
        if self.tasks.of(id).next().is_none()
            && !self.custom_executors.has_of(id)
            && let Some(framework) = self.tasks.remove_framework(id)
        {
            self.past.framework(id.clone(), framework.info);
            out.store.push(Record::FrameworkForgotten(id.clone()));
        }
    }
}

/// Another state or health is for people; what else a report says, a check's answer again and again, is not.
fn is_for_people(before: &TaskStatus, status: &TaskStatus) -> bool {
    (before.state, before.healthy) != (status.state, status.healthy)
}

/// A line of the log.
fn note(key: &TaskKey, before: &TaskStatus, status: &TaskStatus) {
    let reason = status.reason.map(Reason::as_str);
    let because = status.message.as_deref();
    if !is_for_people(before, status) {
        debug!(
            task = %key.task,
            framework = %key.framework,
            state = %status.state,
            healthy = status.healthy,
            reason,
            because,
            "task has news and the same state"
        );
        return;
    }
    info!(
        task = %key.task,
        framework = %key.framework,
        from = %before.state,
        to = %status.state,
        healthy = status.healthy,
        reason,
        because,
        "task changed state"
    );
}

#[cfg(test)]
mod tests {
    use mete_model::CheckAnswer;

    use super::*;

    #[test]
    fn another_answer_to_a_check_is_no_line_for_people_and_another_health_is_one() {
        let task = "web".parse().expect("good");
        let before = TaskStatus::new(
            task,
            TaskState::Running,
            Source::Executor,
            Timestamp::from_micros(0),
        );
        let mut answered = before.clone();
        answered.check = Some(CheckAnswer::Tcp(Some(true)));
        let mut healthy = answered.clone();
        healthy.healthy = Some(true);

        assert!(!is_for_people(&before, &answered));
        assert!(is_for_people(&answered, &healthy));
    }
}
