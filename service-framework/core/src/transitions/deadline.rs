//! Time alone: launches that take too long, kills to be repeated, instances given up, delays that have ended.

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::effects::{Action, Missing, Reply};
use crate::orchestrator::{Orchestrator, kill};
use crate::spec::app::{AppId, UnreachableStrategy};
use crate::state::instances::{
    InstanceId, InstanceState, KILL_RETRY, KillReason, LAUNCH_CONFIRM, LAUNCH_CONFIRM_AT_FIRST,
};

impl Orchestrator {
    pub(crate) fn deadline(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for id in self.apps.due(now) {
            self.instance_due(now, &id, out);
        }
        for app in self.queue.take_due(now) {
            self.master.wants_revive = true;
            self.touched.insert(app);
        }
        if self.releases.next_deadline().is_some_and(|at| at <= now) {
            self.forget_released(now, out);
        }
        self.ask_instances(now, out);
        if self.master.is_connected {
            self.kill_strays(now, out);
            if self.master.reconcile_at.is_some_and(|at| at <= now) {
                self.reconcile(now, out);
            }
        }
    }

    fn instance_due(&mut self, now: Timestamp, id: &InstanceId, out: &mut Effects<Self>) {
        let Some(instance) = self.apps.instance(id) else {
            return;
        };
        let is_late = instance
            .launch_deadline()
            .is_some_and(|deadline| deadline <= now);
        match instance.state {
            InstanceState::Waiting | InstanceState::Running { .. } => {}
            InstanceState::Launching { .. } | InstanceState::Staging | InstanceState::Starting
                if is_late =>
            {
                self.kill_now(now, id, KillReason::LaunchTimedOut, out);
            }
            InstanceState::Staging | InstanceState::Starting => {}
            InstanceState::Launching { .. } => {
                if self.master.is_connected {
                    let tasks = instance.tasks_at();
                    out.act.push(Action::Reconcile { tasks });
                }
                let heard_for = self.master.since.map(|since| now.since(since));
                let pause = heard_for.unwrap_or_default();
                self.put_off(
                    id,
                    now + pause.clamp(LAUNCH_CONFIRM_AT_FIRST, LAUNCH_CONFIRM),
                );
            }
            InstanceState::Unreachable { .. } => self.unreachable_due(now, id, out),
            InstanceState::Draining { .. } => self.kill_drained(now, out),
            InstanceState::Killing { .. } => {
                if self.master.is_connected {
                    self.send_kill(instance, out);
                }
                self.put_off(id, now + KILL_RETRY);
            }
            InstanceState::Reserved { .. } => self.reservation_due(now, id, out),
        }
    }

    /// Moves the deadline of an instance; nothing that outlives a restart, and nobody hears of it.
    pub(super) fn put_off(&mut self, id: &InstanceId, until: Timestamp) {
        let Some(instance) = self.apps.instance(id) else {
            return;
        };
        let mut instance = (**instance).clone();
        match &mut instance.state {
            InstanceState::Launching { ask, .. } => *ask = until,
            InstanceState::Killing { again, .. } => *again = until,
            InstanceState::Reserved { .. } => instance.since = until,
            InstanceState::Waiting
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Unreachable { .. }
            | InstanceState::Draining { .. } => {}
        }
        self.apps.put(instance);
    }

    /// An unreachable instance is replaced after one time and forgotten after another.
    pub(super) fn unreachable_due(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.instance(id) else {
            return;
        };
        let InstanceState::Unreachable { since, inactive } = instance.state else {
            return;
        };
        let UnreachableStrategy::Enabled {
            inactive_after,
            expunge_after,
        } = instance.version.spec.unreachable_strategy
        else {
            return;
        };
        if since + expunge_after <= now {
            self.end_instance(now, id, "Unreachable", out);
        } else if !inactive && since + inactive_after <= now {
            let state = InstanceState::Unreachable {
                since,
                inactive: true,
            };
            self.edit_instance(now, id, out, |instance| instance.state = state);
        }
    }

    fn kill_strays(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for (task, stray) in &mut self.master.strays {
            if stray.again <= now {
                stray.again = now + KILL_RETRY;
                out.act.push(kill(task.clone(), stray.agent.clone(), None));
            }
        }
    }

    pub(crate) fn reset_delay(&mut self, app: &AppId) -> Reply {
        if !self.queue.is_queued(app) {
            return Reply::NotFound(Missing::Queued(app.clone()));
        }
        if self.queue.reset(app) {
            self.master.wants_revive = true;
            self.touched.insert(app.clone());
        }
        Reply::Done
    }
}
