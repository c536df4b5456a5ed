//! An executor of a framework's own subscribes, and says how its tasks go.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use mete_model::{Effects, Reason, TaskId, TaskKey, TaskState, TaskStatus, Timestamp};
use tracing::{debug, info, warn};

use super::delegate::info_of;
use super::report::News;
use crate::effects::{Action, ForExecutor, Outgoing};
use crate::input::FromExecutor;
use crate::node::Node;
use crate::record::Record;
use crate::state::custom_executors::{ExecutorPhase, ToExecutor};
use crate::state::executors::ExecutorKey;
use crate::state::tasks::Phase;

impl Node {
    pub(crate) fn executor_says(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        said: FromExecutor,
        out: &mut Effects<Self>,
    ) {
        match said {
            FromExecutor::Subscribe {
                link,
                tasks,
                updates,
            } => self.executor_subscribed(now, key, link, &tasks, updates, out),
            FromExecutor::Left { link } => self.executor_left(key, link),
            FromExecutor::Update(status) => self.executor_updated(now, key, *status, out),
            FromExecutor::Message(data) => self.executor_said(key, data, out),
        }
    }

    /// An executor subscribes, for the first time or again; `tasks` and `updates` are what it knows of and nobody has
    /// acknowledged to it.
    fn executor_subscribed(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        link: u64,
        tasks: &BTreeSet<TaskId>,
        updates: Vec<TaskStatus>,
        out: &mut Effects<Self>,
    ) {
        let framework = info_of(self, &key.framework);
        let (Some(before), Some(framework)) = (self.custom_executors.get(key), framework) else {
            return out
                .act
                .push(Action::ForExecutor(ForExecutor::Close { link }));
        };
        if let Some(link) = before.stream {
            out.act
                .push(Action::ForExecutor(ForExecutor::Close { link }));
        }
        let ends = before.ending().is_some();
        let subscribed = self.custom_executors.edit(key, |one| {
            one.stream = Some(link);
            if !ends {
                one.phase = ExecutorPhase::Subscribed;
            }
        });
        let Some(executor) = subscribed else { return };
        info!(executor = %key.executor, framework = %key.framework, "executor has subscribed");
        let event = Box::new(ToExecutor::Subscribed {
            executor,
            framework,
        });
        out.act
            .push(Action::ForExecutor(ForExecutor::Tell { link, event }));
        for status in updates {
            self.executor_updated(now, key, status, out);
        }
        if ends {
            let event = Box::new(ToExecutor::Shutdown);
            return out
                .act
                .push(Action::ForExecutor(ForExecutor::Tell { link, event }));
        }
        self.drop_unheard(now, key, tasks, out);
        self.hand_over(key, out);
    }

    /// Tasks that were given to an executor which does not know them have not reached it.
    fn drop_unheard(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        heard: &BTreeSet<TaskId>,
        out: &mut Effects<Self>,
    ) {
        for task in self.live_tasks_of(key) {
            let unheard = task.phase == Phase::Delegated
                && task.latest.state == TaskState::Staging
                && !heard.contains(&task.key.task);
            if unheard {
                let message = "the task did not reach its executor before their link broke";
                let state = self.dropped(&key.framework);
                let news = News::agent(state, Reason::AgentRestarted, message.to_owned());
                self.end(now, &task.key, news, out);
            }
        }
    }

    /// The stream of an executor has ended.
    fn executor_left(&mut self, key: &ExecutorKey, link: u64) {
        let executor = self.custom_executors.get(key);
        if executor.is_some_and(|one| one.stream == Some(link)) {
            info!(executor = %key.executor, framework = %key.framework, "executor is not heard any more");
            self.custom_executors.edit(key, |one| one.stream = None);
        }
    }

    /// An executor says how a task goes. It is told that this is known once it is stored; what it says twice, or of a task
    /// that is over, is known.
    fn executor_updated(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        status: TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let Some(update) = status.uuid else { return };
        let task = status.task.clone();
        let known = TaskKey {
            framework: key.framework.clone(),
            task: task.clone(),
        };
        match self.tasks.get(&known) {
            Some(there) if there.executor.as_ref() != Some(&key.executor) => {
                warn!(task = %known.task, executor = %key.executor, "report of an executor on a task of another is dropped");
                self.counters.reports_refused += 1;
            }
            Some(there) if !there.is_live() || self.updates.holds(&known, update) => {}
            Some(there) if there.latest.uuid == Some(update) => {}
            Some(_) => self.take_word(now, &known, status, out),
            None => {
                debug!(task = %known.task, executor = %key.executor, "report on a task that is over");
            }
        }
        self.tell_executor(key, ToExecutor::Acknowledged { task, update }, out);
    }

    fn take_word(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        mut status: TaskStatus,
        out: &mut Effects<Self>,
    ) {
        status.agent.clone_from(&self.identity.agent);
        (status.executor, status.container) = self.place_of(key);
        if status.ip_addresses.is_empty() {
            status.ip_addresses = vec![self.settings.ip.clone()];
        }
        if status.state.is_terminal() {
            return self.end_with(now, key, status, out);
        }
        if status.state == TaskState::Running {
            self.tasks.edit(key, |task| {
                task.started_at.get_or_insert(now);
            });
        }
        self.report_status(key, status);
    }

    /// An executor has something to say to its framework. Lost when there is no master.
    fn executor_said(&self, key: &ExecutorKey, data: Bytes, out: &mut Effects<Self>) {
        let Some(link) = self.link.registered() else {
            debug!(executor = %key.executor, "message of an executor is dropped for want of a master");
            return;
        };
        let message = Box::new(Outgoing::ExecutorMessage {
            executor: key.clone(),
            data,
        });
        out.act.push(Action::Send { link, message });
    }

    /// Says something to an executor, if it listens.
    pub(crate) fn tell_executor(
        &self,
        key: &ExecutorKey,
        event: ToExecutor,
        out: &mut Effects<Self>,
    ) -> bool {
        let executor = self.custom_executors.get(key);
        let Some(link) = executor.and_then(|one| one.stream) else {
            debug!(executor = %key.executor, framework = %key.framework, "executor does not listen");
            return false;
        };
        let event = Box::new(event);
        out.act
            .push(Action::ForExecutor(ForExecutor::Tell { link, event }));
        true
    }

    /// Stores an executor as it is now.
    pub(super) fn store_custom_executor(&self, key: &ExecutorKey, out: &mut Effects<Self>) {
        if let Some(executor) = self.custom_executors.get(key) {
            out.store.push(Record::CustomExecutor(Arc::clone(executor)));
        }
    }
}
