//! What is kept of the reports about a task. What the task says itself, and what few reports say, takes no room in each: of
//! a hundred thousand tasks most have said that they run, and nothing more.

use std::sync::Arc;

use mete_model::{
    CheckAnswer, ContainerId, ExecutorId, Limitation, Reason, Source, TaskId, TaskState,
    TaskStatus, Timestamp, UpdateId,
};

/// One report; [`Task::told`](super::tasks::Task::told) makes it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Where the task stood.
    pub state: TaskState,
    /// Who said so.
    pub source: Source,
    /// Why, for programs.
    pub reason: Option<Reason>,
    /// What its health check said; `None` without check or before the first result.
    pub healthy: Option<bool>,
    /// When this became so.
    pub timestamp: Timestamp,
    /// Set when an acknowledgement was asked for.
    pub uuid: Option<UpdateId>,
    looked_after: LookedAfter,
    container: Option<ContainerId>,
    more: Option<Box<More>>,
}

/// Whom the report names as the task's executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookedAfter {
    /// Nobody, or somebody who stands beside it.
    Unsaid,
    /// The one that the task came with; a task that came alone is its own.
    AsUsual,
}

/// What few reports say. The words are those of [`TaskStatus`].
#[derive(Clone, Debug, Default, PartialEq)]
struct More {
    message: Option<String>,
    executor: Option<ExecutorId>,
    check: Option<CheckAnswer>,
    unreachable_time: Option<Timestamp>,
    ip_addresses: Vec<String>,
    limitation: Option<Limitation>,
    original: Option<Arc<[u8]>>,
}

impl Report {
    /// What is kept of a report about this task, whose executor is this one.
    pub(super) fn of(status: &TaskStatus, executor: &ExecutorId) -> Self {
        let is_usual = status.executor.as_ref() == Some(executor);
        let more = More {
            message: status.message.clone(),
            executor: status.executor.clone().filter(|_| !is_usual),
            check: status.check,
            unreachable_time: status.unreachable_time,
            ip_addresses: status.ip_addresses.clone(),
            limitation: status.limitation,
            original: status.original.clone(),
        };
        Self {
            state: status.state,
            source: status.source,
            reason: status.reason,
            healthy: status.healthy,
            timestamp: status.timestamp,
            uuid: status.uuid,
            looked_after: match is_usual {
                true => LookedAfter::AsUsual,
                false => LookedAfter::Unsaid,
            },
            container: status.container.clone(),
            more: (more != More::default()).then(|| Box::new(more)),
        }
    }

    /// The report about this task, whose executor is this one; where it runs is not in it.
    pub(super) fn whole(&self, task: TaskId, executor: impl FnOnce() -> ExecutorId) -> TaskStatus {
        let mut status = TaskStatus::new(task, self.state, self.source, self.timestamp);
        status.reason = self.reason;
        status.healthy = self.healthy;
        status.uuid = self.uuid;
        status.container.clone_from(&self.container);
        if self.looked_after == LookedAfter::AsUsual {
            status.executor = Some(executor());
        }
        if let Some(more) = self.more.as_deref() {
            status.message.clone_from(&more.message);
            status.check = more.check;
            status.unreachable_time = more.unreachable_time;
            status.ip_addresses.clone_from(&more.ip_addresses);
            status.limitation = more.limitation;
            status.original.clone_from(&more.original);
            if more.executor.is_some() {
                status.executor.clone_from(&more.executor);
            }
        }
        status
    }

    pub(super) const fn container(&self) -> Option<&ContainerId> {
        self.container.as_ref()
    }
}
