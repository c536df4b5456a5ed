//! The end of an executor of a framework's own: it is asked, then killed; with its process its tasks are over.

use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    ContainerId, Effects, FrameworkId, Reason, TaskId, TaskKey, TaskState, Timestamp,
};
use tracing::{info, warn};

use super::delegate::shutdown_grace;
use super::kill::KILL_AGAIN;
use super::report::News;
use crate::effects::{Action, ForExecutor, Outgoing};
use crate::input::{Found, LaunchOutcome};
use crate::node::Node;
use crate::record::Record;
use crate::state::custom_executors::{CustomExecutor, Ending, ExecutorPhase, ToExecutor};
use crate::state::executors::ExecutorKey;
use crate::state::past::PastExecutor;
use crate::state::tasks::Task;
use crate::task_dir::{End, Exit};

/// How long an executor may take from its start to its subscription (Mesos: 1 min).
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(60);
/// What FAILURE says of an end of which nobody knows how it came.
const UNKNOWN_STATUS: i32 = -1;

/// What is said of the tasks of an executor that is over.
struct Why {
    state: TaskState,
    reason: Reason,
    note: String,
}

impl Node {
    /// The launch job of an executor has ended.
    pub(super) fn executor_launched(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        outcome: LaunchOutcome,
        out: &mut Effects<Self>,
    ) {
        let Some(executor) = self.custom_executors.get(key).map(Arc::clone) else {
            return;
        };
        match (&executor.phase, outcome) {
            (_, LaunchOutcome::Failed { stage, reason }) => {
                self.counters.launches_failed += 1;
                let note = match executor.ending() {
                    Some(ending) => ending.note.clone(),
                    None => format!("could not {}: {reason}", stage.as_str()),
                };
                let why = Why {
                    state: TaskState::Failed,
                    reason: Reason::ContainerLaunchFailed,
                    note,
                };
                self.executor_over(now, key, &why, UNKNOWN_STATUS, out);
            }
            (ExecutorPhase::Starting, LaunchOutcome::Started) => {
                self.await_executor(now, key, REGISTRATION_TIMEOUT, false, out);
            }
            (ExecutorPhase::Ending(ending), LaunchOutcome::Started) if ending.launching => {
                self.kill_executor(now, key, out);
            }
            (
                ExecutorPhase::Awaited { .. }
                | ExecutorPhase::Subscribed
                | ExecutorPhase::Ending(_),
                LaunchOutcome::Started,
            ) => {} // It has subscribed before its start was told.
        }
    }

    fn await_executor(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        patience: Duration,
        again: bool,
        out: &mut Effects<Self>,
    ) {
        let until = now + patience;
        self.custom_executors.edit(key, |one| {
            one.phase = ExecutorPhase::Awaited { until, again };
        });
        self.store_custom_executor(key, out);
    }

    /// The framework asks for the end of an executor.
    pub(crate) fn shutdown_asked(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        out: &mut Effects<Self>,
    ) {
        let note = "its executor was shut down by its framework".to_owned();
        if self.custom_executors.get(key).is_none() {
            return self.end_tasks_of(now, key, &note, out);
        }
        self.dismiss(now, key, None, (Reason::ExecutorTerminated, note), out);
    }

    /// Ends an executor: one that listens is asked and has its grace period, at most `longest`; another is killed.
    pub(super) fn dismiss(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        longest: Option<Duration>,
        (reason, note): (Reason, String),
        out: &mut Effects<Self>,
    ) {
        let Some(executor) = self.custom_executors.get(key).map(Arc::clone) else {
            return;
        };
        let own = shutdown_grace(&executor.spec);
        let grace = longest.map_or(own, |longest| own.min(longest));
        if executor.ending().is_some() {
            return;
        }
        info!(executor = %key.executor, framework = %key.framework, note, "executor is being ended");
        let launching = executor.phase == ExecutorPhase::Starting;
        // Nobody can ask one that does not run yet: should the next agent find it running, it is killed.
        let grace = if launching { Duration::ZERO } else { grace };
        self.custom_executors.edit(key, |one| {
            one.phase = ExecutorPhase::Ending(Ending {
                next: now + grace,
                forced: 0,
                reason,
                note,
                launching,
            });
        });
        if launching {
            let container = executor.container.clone();
            out.act.push(Action::CancelLaunch { container });
        } else if !self.tell_executor(key, ToExecutor::Shutdown, out) {
            self.kill_executor(now, key, out);
        }
        self.store_custom_executor(key, out);
    }

    fn kill_executor(&mut self, now: Timestamp, key: &ExecutorKey, out: &mut Effects<Self>) {
        let killed = self.custom_executors.edit(key, |one| {
            if let ExecutorPhase::Ending(ending) = &mut one.phase {
                ending.forced += 1;
                ending.launching = false;
                ending.next = now + KILL_AGAIN;
            }
        });
        let Some(one) = killed else { return };
        if let Some(ending) = one.ending()
            && ending.forced > 1
        {
            warn!(executor = %key.executor, framework = %key.framework, times = ending.forced, "executor survived SIGKILL so far");
        }
        if let Some(key) = pseudo(key) {
            let container = one.container.clone();
            out.act.push(Action::Kill { key, container });
        }
    }

    /// Some were awaited in vain, some have not ended in time.
    pub(crate) fn executors_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for key in self.custom_executors.take_overdue(now) {
            let Some(one) = self.custom_executors.get(&key).map(Arc::clone) else {
                continue;
            };
            match &one.phase {
                ExecutorPhase::Awaited { again: false, .. } => {
                    let note = format!(
                        "its executor did not subscribe within {} s",
                        REGISTRATION_TIMEOUT.as_secs()
                    );
                    let why = (Reason::ExecutorRegistrationTimeout, note);
                    self.dismiss(now, &key, None, why, out);
                }
                ExecutorPhase::Awaited { again: true, .. } => {
                    let note = format!(
                        "its executor did not subscribe again within {} s after its agent was restarted",
                        self.settings.executor_reregistration_timeout.as_secs_f64()
                    );
                    let why = (Reason::ExecutorReregistrationTimeout, note);
                    self.dismiss(now, &key, None, why, out);
                }
                ExecutorPhase::Ending(ending) if ending.launching => {
                    // The launch job has been told, and ends in its own time.
                    self.custom_executors.edit(&key, |one| {
                        if let ExecutorPhase::Ending(ending) = &mut one.phase {
                            ending.next = now + KILL_AGAIN;
                        }
                    });
                }
                ExecutorPhase::Ending(_) => self.kill_executor(now, &key, out),
                ExecutorPhase::Starting | ExecutorPhase::Subscribed => {}
            }
        }
    }

    /// Executors of a framework that is gone, or all of them, are ended.
    pub(super) fn dismiss_all(
        &mut self,
        now: Timestamp,
        of: Option<&FrameworkId>,
        longest: Option<Duration>,
        (reason, note): (Reason, &str),
        out: &mut Effects<Self>,
    ) {
        let keys = self.custom_executors.iter().map(|one| one.key.clone());
        let keys = keys.filter(|key| of.is_none_or(|of| key.framework == *of));
        for key in keys.collect::<Vec<_>>() {
            self.dismiss(now, &key, longest, (reason, note.to_owned()), out);
        }
    }

    /// A task of an executor has ended. One that has not subscribed and has no other task is of no use to anybody.
    pub(super) fn delegated_over(&mut self, now: Timestamp, task: &Task, out: &mut Effects<Self>) {
        let Some(executor) = task.executor.clone() else {
            return;
        };
        let framework = task.key.framework.clone();
        let key = &ExecutorKey {
            framework,
            executor,
        };
        self.group_given_up(now, key, &task.key.task, out);
        let executor = self.custom_executors.get(key);
        let waits = executor.is_some_and(|one| match one.phase {
            ExecutorPhase::Starting | ExecutorPhase::Awaited { again: false, .. } => true,
            ExecutorPhase::Awaited { again: true, .. }
            | ExecutorPhase::Subscribed
            | ExecutorPhase::Ending(_) => false,
        });
        if waits && self.live_tasks_of(key).is_empty() {
            let note = "all its tasks were killed before it had subscribed".to_owned();
            self.dismiss(now, key, None, (Reason::ExecutorTerminated, note), out);
        }
    }

    /// The process of an executor has ended; `exit` is `None` when nobody knows how.
    pub(super) fn executor_exited(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        exit: Option<&Exit>,
        out: &mut Effects<Self>,
    ) {
        let Some(executor) = self.custom_executors.get(key) else {
            return;
        };
        let how = exit.map_or_else(
            || "its executor ended and left no record of how".to_owned(),
            |exit| format!("its executor ended: {}", exit.sentence()),
        );
        let (reason, note) = match executor.ending() {
            Some(ending) => (ending.reason, format!("{}; {how}", ending.note)),
            None if exit.is_some_and(Exit::is_out_of_memory) => {
                (Reason::ContainerLimitationMemory, how)
            }
            None => (Reason::ExecutorTerminated, how),
        };
        let status = exit.map_or(UNKNOWN_STATUS, wait_status);
        let state = TaskState::Failed;
        let why = Why {
            state,
            reason,
            note,
        };
        self.executor_over(now, key, &why, status, out);
    }

    /// Nothing of an executor is left but its sandbox: its live tasks have failed, its framework is told.
    fn executor_over(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        why: &Why,
        status: i32,
        out: &mut Effects<Self>,
    ) {
        let Some(executor) = self.custom_executors.remove(key) else {
            return;
        };
        self.counters.executors_ended += 1;
        info!(executor = %key.executor, framework = %key.framework, status, because = why.note, "executor is over");
        for task in self.live_tasks_of(key) {
            let news = News::agent(why.state, why.reason, why.note.clone());
            self.end(now, &task.key, news, out);
        }
        out.store.push(Record::CustomExecutorGone(key.clone()));
        if let Some(link) = executor.stream {
            out.act
                .push(Action::ForExecutor(ForExecutor::Close { link }));
        }
        self.keep_executor_sandbox(now, &executor, why.note.clone(), out);
        self.tell_exit(key, status, out);
        self.forget_framework_if_unused(&key.framework, out);
    }

    /// A launch is refused. The master counts an executor from its first launch on: one that is not here after all is over for
    /// it (Mesos' agents say so, too).
    pub(super) fn executor_not_begun(&mut self, key: &ExecutorKey, out: &mut Effects<Self>) {
        if self.custom_executors.get(key).is_none() {
            self.tell_exit(key, UNKNOWN_STATUS, out);
        }
    }

    /// The master hears of the end of an executor, now or when it is there again.
    fn tell_exit(&mut self, key: &ExecutorKey, status: i32, out: &mut Effects<Self>) {
        if let Some(link) = self.link.registered() {
            let executor = key.clone();
            let message = Box::new(Outgoing::ExecutorExited { executor, status });
            out.act.push(Action::Send { link, message });
        } else if self.custom_executors.ended_unheard(key.clone(), status) {
            let key = key.clone();
            out.store.push(Record::Unheard { key, status });
        }
    }

    /// A master has taken the registration: it knows of the ends that this told, and hears of those since.
    pub(super) fn exits_heard(&mut self, out: &mut Effects<Self>) {
        let (told, since) = self.custom_executors.heard();
        let heard = told
            .into_iter()
            .chain(since.iter().map(|(key, _)| key.clone()));
        out.store.extend(heard.map(Record::Heard));
        let Some(link) = self.link.registered() else {
            return;
        };
        for (executor, status) in since {
            let message = Box::new(Outgoing::ExecutorExited { executor, status });
            out.act.push(Action::Send { link, message });
        }
    }

    fn keep_executor_sandbox(
        &mut self,
        now: Timestamp,
        executor: &CustomExecutor,
        note: String,
        out: &mut Effects<Self>,
    ) {
        let Some(key) = pseudo(&executor.key) else {
            return;
        };
        let container = executor.container.clone();
        let past = PastExecutor {
            framework: executor.key.framework.clone(),
            container: container.clone(),
            spec: Arc::clone(&executor.spec),
        };
        self.remember_executor(now, key.clone(), executor.agent.clone(), past, note, out);
        out.act.push(Action::Release { key, container });
    }

    /// After a restart of the agent: one that runs is awaited, another is over.
    pub(super) fn account_for_executor(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        found: Found,
        rebooted: bool,
        out: &mut Effects<Self>,
    ) {
        match found {
            Found::Running if !rebooted => self.adopt_executor(now, key, out),
            Found::Ended(exit) => self.executor_exited(now, key, Some(&exit), out),
            Found::NeverStarted if !rebooted => {
                let note = "the agent was restarted before the task's executor had started";
                let why = Why {
                    state: self.dropped(&key.framework),
                    reason: Reason::AgentRestarted,
                    note: note.to_owned(),
                };
                self.executor_over(now, key, &why, UNKNOWN_STATUS, out);
            }
            Found::Running | Found::NeverStarted | Found::Vanished => {
                self.executor_exited(now, key, None, out);
            }
        }
    }

    fn adopt_executor(&mut self, now: Timestamp, key: &ExecutorKey, out: &mut Effects<Self>) {
        let Some(one) = self.custom_executors.get(key).map(Arc::clone) else {
            return;
        };
        let Some(task) = pseudo(key) else { return };
        let container = one.container.clone();
        info!(executor = %key.executor, framework = %key.framework, %container, "executor is adopted");
        out.act.push(Action::Adopt {
            key: task,
            container,
        });
        if let Some(next) = one.ending().map(|ending| ending.next) {
            // It goes on with the grace that it was given; no clock gives it more.
            let next = next.min(now + shutdown_grace(&one.spec));
            if next <= now {
                return self.kill_executor(now, key, out);
            }
            self.custom_executors.edit(key, |one| {
                if let ExecutorPhase::Ending(ending) = &mut one.phase {
                    ending.next = next;
                }
            });
        } else {
            let patience = self.settings.executor_reregistration_timeout;
            self.await_executor(now, key, patience, true, out);
        }
    }

    /// Which executor runs in a container.
    pub(crate) fn executor_in(&self, container: &ContainerId) -> Option<ExecutorKey> {
        self.custom_executors.in_container(container)
    }
}

/// The name under which the shell runs an executor: that of a task.
fn pseudo(key: &ExecutorKey) -> Option<TaskKey> {
    Some(TaskKey {
        framework: key.framework.clone(),
        task: TaskId::new(key.executor.as_str()).ok()?,
    })
}

/// As waitpid(2) gives it.
const fn wait_status(exit: &Exit) -> i32 {
    match exit.end {
        End::Exited { code } => (code & 0xff) << 8,
        End::Signaled { signal } => signal & 0x7f,
        End::NotStarted { .. } => UNKNOWN_STATUS,
    }
}
