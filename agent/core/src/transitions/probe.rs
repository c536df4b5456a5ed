//! A probe has a result: perhaps news, perhaps a verdict. A check has an answer: perhaps news, never more.

use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    CheckAnswer, ContainerId, Effects, HealthCheck, Probe, Question, Reason, TaskCheck, TaskKey,
    TaskState, Timestamp,
};
use tracing::debug;

use super::report::News;
use crate::effects::Action;
use crate::node::Node;
use crate::state::probes::Verdict;
use crate::state::tasks::{Phase, Why};

/// The longest that a check is waited for: one that hangs keeps the turn of another.
const MAX_CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// From an answer to the next question at least: a check may be a process each time.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Node {
    /// Starts the probes whose time has come.
    pub(crate) fn probes_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for (key, probe, timeout) in self.probes.start_due(now) {
            let Some(task) = self.tasks.get(&key) else {
                continue;
            };
            out.act.push(Action::Probe {
                container: task.container.clone(),
                key,
                probe,
                timeout,
            });
        }
    }

    /// Counts a result. Each failure that counts is reported, a success only when it changes something; too many
    /// failures in a row kill the task.
    pub(crate) fn probed(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        container: &ContainerId,
        result: Result<(), String>,
        out: &mut Effects<Self>,
    ) {
        let runs = self
            .tasks
            .run(key, container)
            .is_some_and(|task| matches!(task.phase, Phase::Running));
        if !runs {
            return;
        }
        match self.probes.result(now, key, result.is_ok()) {
            Verdict::Nothing => {
                debug!(task = %key.task, framework = %key.framework, ?result, "probe without news");
                self.ails(key, result.err());
            }
            Verdict::Healthy => {
                self.ails(key, None);
                self.health(now, key, true, None);
            }
            Verdict::Unhealthy { failures, kill } => {
                self.ails(key, None); // the report says it
                let problem = result.err().unwrap_or_default();
                self.health(now, key, false, Some(problem.clone()));
                if kill {
                    let note =
                        format!("its health check failed {failures} times in a row: {problem}");
                    self.kill(now, key, None, Why::Unhealthy, Some(note), out);
                }
            }
        }
    }

    /// Keeps what no report says: why a check fails in its grace period.
    fn ails(&mut self, key: &TaskKey, why: Option<String>) {
        let known = self.tasks.get(key).and_then(|task| task.ailment.as_deref());
        if known == why.as_deref() {
            return;
        }
        if let Some(why) = &why {
            debug!(task = %key.task, framework = %key.framework, why, "health check fails in its grace period");
        }
        self.tasks
            .edit(key, |task| task.ailment = why.map(Arc::from));
    }

    /// Asks the questions whose time has come.
    pub(crate) fn checks_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for (key, probe, timeout) in self.checks.start_due(now) {
            let Some(task) = self.tasks.get(&key) else {
                continue;
            };
            out.act.push(Action::Check {
                container: task.container.clone(),
                key,
                probe,
                timeout,
            });
        }
    }

    /// Tells an answer when it is another than before.
    pub(crate) fn checked(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        container: &ContainerId,
        answer: CheckAnswer,
    ) {
        let task = self.tasks.run(key, container);
        let Some(task) = task.filter(|task| matches!(task.phase, Phase::Running)) else {
            return;
        };
        let (before, healthy) = (task.latest.check, task.latest.healthy);
        self.checks.result(now, key, true); // the next question has its time
        if before != Some(answer) {
            let mut news = News::executor(TaskState::Running);
            news.reason = Some(Reason::TaskCheckStatusUpdated);
            news.healthy = healthy;
            news.check = Some(answer);
            self.report(now, key, news);
        }
    }

    fn health(&mut self, now: Timestamp, key: &TaskKey, healthy: bool, message: Option<String>) {
        let mut news = News::executor(TaskState::Running);
        news.reason = Some(Reason::TaskHealthCheckStatusUpdated);
        news.message = message;
        news.healthy = Some(healthy);
        self.report(now, key, news);
    }
}

/// A check in the words of those that decide on health: its rhythm is the same within bounds, and nothing is too many.
pub(super) fn terms(check: &TaskCheck) -> HealthCheck {
    let probe = match &check.question {
        Question::Command(command) => Probe::Command(command.clone()),
        Question::Http { port, path } => Probe::Http {
            port: *port,
            path: path.clone(),
            statuses: Vec::new(),
            secure: false,
        },
        Question::Tcp { port } => Probe::Tcp { port: *port },
    };
    HealthCheck {
        probe,
        delay: check.delay,
        interval: check.interval.max(MIN_CHECK_INTERVAL),
        timeout: check.timeout.min(MAX_CHECK_TIMEOUT),
        grace_period: Duration::ZERO,
        consecutive_failures: 0,
    }
}
