//! A task is to end, and its agent is told until it has.

use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Reason, TaskId, TaskKey, TaskState, Timestamp};
use tracing::{debug, warn};

use crate::cluster::{Cluster, Out};
use crate::effects::MessageToAgent;
use crate::state::deadlines::Due;
use crate::state::tasks::{self, Kill};

/// A task of a removed framework whose end is not heard of after so many kills (two minutes by default) gives its
/// resources back: its agent has forgotten it without a word.
const MAX_ORPHAN_KILLS: u32 = 8;

impl Cluster {
    /// KILL. A task that is not known, or has ended, is answered as if its state had been asked for.
    pub(crate) fn kill(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        task: TaskId,
        agent: Option<AgentId>,
        grace_period: Option<Duration>,
        out: &mut Out,
    ) {
        self.count().kills += 1;
        let key = tasks::key(framework, &task);
        let Some(known) = self.tasks.get_mut(&key) else {
            return self.reconcile_one(now, framework, task, agent, out);
        };
        if agent.is_some_and(|agent| agent != known.agent) {
            debug!(task = %key, agent = %known.agent, "kill names another agent");
            return;
        }
        if !known.holds_resources() {
            return self.reconcile_one(now, framework, task, None, out);
        }
        let before = known.kill.as_deref();
        let kill = Kill {
            grace_period,
            told: before.map_or(0, |kill| kill.told),
            by_drain: before.is_some_and(|kill| kill.by_drain),
        };
        known.kill = Some(Box::new(kill));
        let unreachable = known.state == TaskState::Unreachable;
        self.tell_kill(now, &key, out);
        if unreachable {
            self.reconcile_one(now, framework, task, None, out);
        }
    }

    /// Tells the agent to end a task, if it is there, and looks again later.
    pub(crate) fn tell_kill(&mut self, now: Timestamp, key: &TaskKey, out: &mut Out) {
        let Some(task) = self.tasks.get(key).filter(|task| task.is_to_end()) else {
            return;
        };
        let message = MessageToAgent::KillTask {
            framework: key.framework.clone(),
            task: key.task.clone(),
            grace_period: self.grace_left(now, task),
        };
        let agent = task.agent.clone();
        if let Some(kill) = self.tasks.get_mut(key).and_then(|task| task.kill.as_mut()) {
            kill.told += 1;
        }
        if self.tell_agent(&agent, message, out) {
            let again = now + self.settings.kill_repeat;
            self.deadlines.set(Due::Kill(key.clone()), again);
        }
    }

    /// A task that was to be killed has not ended, or it is time to kill it because its agent drains.
    pub(crate) fn kill_due(&mut self, now: Timestamp, key: &TaskKey, out: &mut Out) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let told = task.kill.as_ref().map_or(0, |kill| kill.told);
        let orphan = self
            .frameworks
            .get(&key.framework)
            .is_none_or(|framework| framework.is_completed());
        if orphan && told >= MAX_ORPHAN_KILLS {
            warn!(task = %key, agent = %task.agent, told, "task of a removed framework does not report its end");
            self.end_orphan(now, key, out);
            return;
        }
        if task.kill.is_none() {
            return self.kill_to_drain(now, key, out);
        }
        self.tell_kill(now, key, out);
    }

    /// Ends the record of a task whose framework was removed.
    pub(crate) fn end_orphan(&mut self, now: Timestamp, key: &TaskKey, out: &mut Out) {
        let end = (TaskState::Killed, Reason::FrameworkRemoved);
        let agent = self.tasks.get(key).map(|task| task.agent.clone());
        self.end_task(now, key, end, "the framework was removed", out);
        if let Some(agent) = agent {
            self.orphan_over(&agent, key, out);
        }
    }
}
