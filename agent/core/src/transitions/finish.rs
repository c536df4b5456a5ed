//! A task's process has ended.

use std::sync::Arc;

use mete_model::resources::megabytes::bytes_of;
use mete_model::{
    ContainerId, Effects, Limitation, Reason, TaskKey, TaskState, TaskStatus, Timestamp,
};
use tracing::debug;

use super::report::News;
use crate::effects::Action;
use crate::node::Node;
use crate::record::Record;
use crate::state::sandboxes::Sandbox;
use crate::state::tasks::{Phase, Task, Why};
use crate::task_dir::{End, Exit};

impl Node {
    /// The process of a task has ended; `exit` is `None` when nobody knows how.
    pub(crate) fn exited(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        container: &ContainerId,
        exit: Option<Exit>,
        out: &mut Effects<Self>,
    ) {
        if let Some(executor) = self.executor_in(container) {
            return self.executor_exited(now, &executor, exit.as_ref(), out);
        }
        let task = self.tasks.run(key, container).filter(|task| task.is_live());
        let Some(task) = task.map(Arc::clone) else {
            debug!(task = %key.task, framework = %key.framework, "late end of a process is ignored");
            return;
        };
        let news = match exit {
            Some(exit) => ending(&task, &exit),
            None => unknown_ending(&task, "the task's process ended and left no record of how"),
        };
        self.end(now, key, news, out);
    }

    /// A task has ended. Its sandbox is kept, its last report goes; without a framework to hear it, it is forgotten.
    pub(super) fn end(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        news: News,
        out: &mut Effects<Self>,
    ) {
        let status = self.status(now, key, news);
        self.end_with(now, key, status, out);
    }

    /// The same with the words of whoever says so. A task that an executor of its framework's own has run leaves nothing of
    /// its own behind.
    pub(super) fn end_with(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        news: TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let ended = self.tasks.edit(key, |task| {
            let began = !matches!(task.phase, Phase::Accepted) && !task.is_delegated();
            task.phase = Phase::Ended { at: now };
            (began, task.clone())
        });
        let Some((began, task)) = ended else {
            return;
        };
        self.probes.end(key);
        self.checks.end(key);
        *self.ended.entry(news.state).or_insert(0) += 1;
        self.counters.executors_ended += u64::from(task.executor.is_none());
        if began {
            let sandbox = Sandbox {
                key: key.clone(),
                name: task.spec.name.clone(),
                is_executor: false,
                container: task.container.clone(),
                within: self.parent_of(&task).map(|executor| executor.within()),
                agent: task.agent.clone(),
                ended_at: now,
                state: news.state,
                message: news.message.clone(),
            };
            out.store
                .push(Record::SandboxKept(Arc::new(sandbox.clone())));
            self.sandboxes.keep(sandbox);
            out.act.push(Action::Release {
                key: key.clone(),
                container: task.container.clone(),
            });
        }
        let said = news.clone();
        self.report_status(key, news);
        if task.is_delegated() {
            self.delegated_over(now, &task, out);
        } else {
            self.group_goes_on(now, &task, &said, out);
        }
        if !self.updates.has(key) {
            self.forget(key, out);
        }
    }
}

/// What to say of an end.
pub(super) fn ending(task: &Task, exit: &Exit) -> News {
    if let Some(kill) = task.kill() {
        let message = match &kill.note {
            Some(note) => format!("{note}; {}", exit.sentence()),
            None => exit.sentence(),
        };
        return killed(kill.why, message);
    }
    if exit.is_out_of_memory() {
        // It may have been more than its share: tasks have limits of their own.
        let given_bytes = bytes_of(task.spec.resources.flat().mem_milli);
        let limit_bytes = exit.memory_limit_bytes.unwrap_or(given_bytes);
        let megabytes = limit_bytes >> 20;
        let mut news = News::executor(TaskState::Failed);
        news.reason = Some(Reason::ContainerLimitationMemory);
        news.limitation = Some(Limitation::Memory(limit_bytes));
        news.message = Some(format!(
            "the task used more than its {megabytes} MB of memory: {}",
            exit.sentence()
        ));
        return news;
    }
    let (state, reason) = match &exit.end {
        End::Exited { code: 0 } => (TaskState::Finished, None),
        End::Exited { .. } | End::Signaled { .. } => (TaskState::Failed, None),
        End::NotStarted { .. } => (TaskState::Failed, Some(Reason::ContainerLaunchFailed)),
    };
    let mut news = News::executor(state);
    news.reason = reason;
    news.message = Some(exit.sentence());
    news
}

/// What to say when nobody knows how it ended.
pub(super) fn unknown_ending(task: &Task, message: &str) -> News {
    match task.kill() {
        Some(kill) => killed(
            kill.why,
            kill.note.clone().unwrap_or_else(|| message.to_owned()),
        ),
        None => News::agent(
            TaskState::Failed,
            Reason::ExecutorTerminated,
            message.to_owned(),
        ),
    }
}

/// A task that was told to end was killed, however it then ended; one that had to end has failed.
fn killed(why: Why, message: String) -> News {
    let mut news = News::executor(TaskState::Killed);
    news.message = Some(message);
    match why {
        Why::Asked | Why::Group => {}
        Why::Unhealthy => news.healthy = Some(false),
        Why::TimeIsUp => {
            news.state = TaskState::Failed;
            news.reason = Some(Reason::MaxCompletionTimeReached);
        }
        Why::DiskUsedUp { limit_bytes } => {
            news.state = TaskState::Failed;
            news.reason = Some(Reason::ContainerLimitationDisk);
            news.limitation = limit_bytes.map(Limitation::Disk);
        }
        Why::FrameworkRemoved => news.reason = Some(Reason::FrameworkRemoved),
        Why::AgentStops => news.reason = Some(Reason::AgentRemoved),
    }
    news
}
