//! A probe has a result: perhaps news, perhaps a verdict.

use mete_model::{ContainerId, Effects, Reason, TaskKey, TaskState, Timestamp};
use tracing::debug;

use super::report::News;
use crate::effects::Action;
use crate::node::Node;
use crate::state::probes::Verdict;
use crate::state::tasks::{Phase, Why};

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
            }
            Verdict::Healthy => self.health(now, key, true, None),
            Verdict::Unhealthy { failures, kill } => {
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

    fn health(&mut self, now: Timestamp, key: &TaskKey, healthy: bool, message: Option<String>) {
        let mut news = News::executor(TaskState::Running);
        news.reason = Some(Reason::TaskHealthCheckStatusUpdated);
        news.message = message;
        news.healthy = Some(healthy);
        self.report(now, key, news);
    }
}
