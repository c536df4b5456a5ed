//! A task, a framework, the agent is to end: SIGTERM, a grace period, SIGKILL to everything, again if need be.

use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    Capability, ContainerId, Effects, FrameworkId, Reason, TaskKey, TaskState, Timestamp,
};
use tracing::{debug, info, warn};

use super::delegate::shutdown_grace;
use super::report::News;
use crate::effects::{Action, StopReason};
use crate::executor_environment::DEFAULT_SHUTDOWN_GRACE;
use crate::node::{Node, Stopping};
use crate::record::Record;
use crate::state::custom_executors::ToExecutor;
use crate::state::executors::ExecutorKey;
use crate::state::tasks::{Framework, Kill, Phase, Why};

/// From one SIGKILL to the next. What survives one is asleep in the kernel, and may wake up.
pub(super) const KILL_AGAIN: Duration = Duration::from_secs(10);

/// The message of a kill that found a task not yet started.
pub(super) const KILLED_EARLY: &str = "killed before it had started";

impl Node {
    /// The framework asks for the end of a task. One that is not here is reported gone, so that nobody asks for ever.
    pub(crate) fn kill_asked(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        grace: Option<Duration>,
        out: &mut Effects<Self>,
    ) {
        if self.tasks.get(key).is_some() {
            self.kill(now, key, grace, Why::Asked, None, out);
        } else if self.updates.has(key) {
            self.changed.insert(key.clone());
        } else {
            let message = "the agent does not know the task".to_owned();
            let news = News::agent(TaskState::Gone, Reason::TaskUnknown, message);
            self.report_orphan(now, key, news);
        }
    }

    /// Ends a task. A second kill can only shorten the grace period of the first.
    pub(super) fn kill(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        grace: Option<Duration>,
        why: Why,
        note: Option<String>,
        out: &mut Effects<Self>,
    ) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let own = task.spec.kill_grace_period;
        let asked = grace;
        let grace = grace.unwrap_or_else(|| own.unwrap_or(self.settings.kill_grace));
        let launching = match &task.phase {
            Phase::Ended { .. } => return,
            Phase::Accepted => {
                let message = note.unwrap_or_else(|| KILLED_EARLY.to_owned());
                let reason = Reason::TaskKilledDuringLaunch;
                let news = News::agent(TaskState::Killed, reason, message);
                return self.end(now, key, news, out);
            }
            Phase::Killing(kill) => {
                if kill.forced == 0 && now + grace < kill.next {
                    self.force_at(key, now + grace);
                }
                return;
            }
            Phase::Delegated => return self.kill_delegated(key, asked, why, out),
            Phase::Starting => true,
            Phase::Running => false,
        };
        info!(task = %key.task, framework = %key.framework, ?why, grace_ms = grace.as_millis(), "task is being killed");
        let (container, healthy) = (task.container.clone(), task.latest.healthy);
        let kill = Kill {
            since: now,
            next: now + grace,
            forced: 0,
            why,
            note,
            launching,
        };
        self.tasks
            .edit(key, |task| task.phase = Phase::Killing(kill));
        self.changed.insert(key.clone());
        self.probes.end(key);
        self.checks.end(key);
        out.act.push(if launching {
            Action::CancelLaunch { container }
        } else {
            let key = key.clone();
            Action::Terminate { key, container }
        });
        let framework = match why {
            // As in Mesos, nobody hears that such a kill has begun.
            Why::TimeIsUp | Why::DiskUsedUp { .. } => None,
            Why::Asked | Why::Unhealthy | Why::Group | Why::FrameworkRemoved | Why::AgentStops => {
                self.tasks.framework(&key.framework)
            }
        };
        if framework.is_some_and(|framework| framework.info.can(Capability::TaskKillingState)) {
            let mut news = News::executor(TaskState::Killing);
            news.healthy = healthy;
            self.report(now, key, news);
        }
    }

    /// The executor of a task is told to end it; one that does not listen hears it when the master says it again. Where the
    /// executor itself is ended, its tasks need no word of their own.
    fn kill_delegated(
        &mut self,
        key: &TaskKey,
        grace: Option<Duration>,
        why: Why,
        out: &mut Effects<Self>,
    ) {
        match why {
            Why::Asked | Why::Unhealthy | Why::Group => {}
            Why::TimeIsUp | Why::DiskUsedUp { .. } | Why::FrameworkRemoved | Why::AgentStops => {
                return;
            }
        }
        let executor = self.tasks.get(key).and_then(|task| task.executor.clone());
        let Some(executor) = executor else { return };
        let executor = ExecutorKey {
            framework: key.framework.clone(),
            executor,
        };
        let task = key.task.clone();
        self.tell_executor(&executor, ToExecutor::Kill { task, grace }, out);
    }

    /// Moves the SIGKILL of a task that is being ended.
    fn force_at(&mut self, key: &TaskKey, next: Timestamp) {
        self.tasks.edit(key, |task| {
            if let Phase::Killing(kill) = &mut task.phase {
                kill.next = next;
            }
        });
        self.changed.insert(key.clone());
    }

    /// A task that is to be killed has started all the same: its grace period begins now.
    pub(super) fn started_too_late(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        out: &mut Effects<Self>,
    ) {
        let container = self.tasks.edit(key, |task| {
            task.started_at = Some(now);
            if let Phase::Killing(kill) = &mut task.phase {
                let grace = kill.next.since(kill.since);
                kill.launching = false;
                kill.since = now;
                kill.next = now + grace;
            }
            task.container.clone()
        });
        let Some(container) = container else {
            return;
        };
        self.changed.insert(key.clone());
        let key = key.clone();
        out.act.push(Action::Terminate { key, container });
    }

    /// Tasks have run for as long as they may. They get no time to end: it is over, as it is for Mesos' executors.
    pub(crate) fn ends_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for key in self.tasks.take_late(now) {
            let task = self.tasks.get(&key);
            let most = task.and_then(|task| task.spec.max_completion_time);
            let most = most.unwrap_or_default().as_secs_f64();
            let note = format!("it has run for the {most} s that it may (max_completion_time)");
            let grace = Some(Duration::ZERO);
            self.kill(now, &key, grace, Why::TimeIsUp, Some(note), out);
        }
    }

    /// A task takes more of the disk than it may; it gets no time to take still more.
    pub(crate) fn disk_used_up(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        container: &ContainerId,
        (limit_bytes, excess): (u64, String),
        out: &mut Effects<Self>,
    ) {
        let task = self.tasks.run(key, container);
        if task.is_some_and(|task| task.phase == Phase::Running) {
            let grace = Some(Duration::ZERO);
            let limit_bytes = Some(limit_bytes);
            let why = Why::DiskUsedUp { limit_bytes };
            self.kill(now, key, grace, why, Some(excess), out);
        }
    }

    /// Grace periods are over.
    pub(crate) fn kills_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for key in self.tasks.take_overdue(now) {
            let container = self.tasks.edit(&key, |task| {
                if let Phase::Killing(kill) = &mut task.phase {
                    kill.forced += 1;
                    kill.next = now + KILL_AGAIN;
                    if kill.forced > 1 {
                        warn!(task = %key.task, framework = %key.framework, times = kill.forced, "task survived SIGKILL so far");
                    }
                }
                task.container.clone()
            });
            let Some(container) = container else {
                continue;
            };
            self.changed.insert(key.clone());
            out.act.push(Action::Kill { key, container });
        }
    }

    /// An executor that is the agent's own business is its tasks: those of a group, or the one that runs a command and
    /// bears its name. They are killed, as by Mesos' executors.
    pub(super) fn end_tasks_of(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        note: &str,
        out: &mut Effects<Self>,
    ) {
        let longest = self
            .executors
            .get(key)
            .map_or(DEFAULT_SHUTDOWN_GRACE, |group| shutdown_grace(&group.spec));
        let of_framework = self.tasks.of(&key.framework);
        let its: Vec<_> = of_framework
            .filter(|task| match &task.executor {
                Some(executor) => *executor == key.executor,
                None => task.key.task.as_str() == key.executor.as_str(),
            })
            .filter(|task| task.is_live() && !task.is_delegated())
            .map(|task| (task.key.clone(), task.spec.kill_grace_period))
            .collect();
        for (task, own) in its {
            let grace = own.unwrap_or(self.settings.kill_grace).min(longest);
            let note = Some(note.to_owned());
            self.kill(now, &task, Some(grace), Why::Asked, note, out);
        }
    }

    /// A framework is gone: its tasks end, and nobody is told.
    pub(crate) fn shutdown_framework(
        &mut self,
        now: Timestamp,
        id: &FrameworkId,
        out: &mut Effects<Self>,
    ) {
        let Some(framework) = self.tasks.framework(id) else {
            debug!(framework = %id, "framework to shut down has no tasks here");
            return;
        };
        if framework.leaving {
            return;
        }
        let info = Arc::clone(&framework.info);
        info!(framework = %id, "framework is being shut down");
        out.store.push(Record::Framework {
            id: id.clone(),
            info: Arc::clone(&info),
            leaving: true,
        });
        let leaving = true;
        self.tasks
            .set_framework(id.clone(), Framework { info, leaving });
        let why = (Reason::FrameworkRemoved, "its framework was removed");
        self.dismiss_all(now, Some(id), None, why, out);
        let tasks: Vec<_> = self.tasks.of(id).map(Arc::clone).collect();
        for task in tasks {
            let key = task.key.clone();
            self.updates.forget(&key);
            if task.is_live() {
                let note = Some("its framework was removed".to_owned());
                self.kill(now, &key, None, Why::FrameworkRemoved, note, out);
                self.changed.insert(key);
            } else {
                self.forget(&key, out);
            }
        }
    }

    /// Everything ends, then the agent. `longest` bounds every grace period.
    pub(crate) fn stop_with_tasks(
        &mut self,
        now: Timestamp,
        reason: StopReason,
        longest: Option<Duration>,
        out: &mut Effects<Self>,
    ) {
        if self.stopping.is_none() {
            info!(%reason, "agent ends when its tasks have");
            let said = false;
            self.stopping = Some(Stopping { reason, said });
        }
        let why = (Reason::AgentRemoved, "its agent ends");
        self.dismiss_all(now, None, longest, why, out);
        let live: Vec<_> = self
            .tasks
            .iter()
            .filter(|task| task.is_live())
            .map(|task| (task.key.clone(), task.spec.kill_grace_period))
            .collect();
        for (key, own) in live {
            let own = own.unwrap_or(self.settings.kill_grace);
            let grace = longest.map_or(own, |longest| own.min(longest));
            let note = Some("its agent ends".to_owned());
            self.kill(now, &key, Some(grace), Why::AgentStops, note, out);
        }
    }

    /// The last task of an agent that ends has ended.
    pub(crate) fn stop_when_empty(&mut self, out: &mut Effects<Self>) {
        if let Some(stopping) = &mut self.stopping
            && self.tasks.live() == 0
            && self.custom_executors.len() == 0
            && !stopping.said
        {
            stopping.said = true;
            out.act.push(Action::Stop(stopping.reason.clone()));
        }
    }
}
