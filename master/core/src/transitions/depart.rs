//! A framework goes: away for a while, away for too long, or torn down.
//!
//! A removed framework's tasks are told to end; what they use is free when they have, not before: a port in use would
//! fail the next task it is given to.

use std::sync::Arc;

use mete_model::{AgentId, FrameworkId, TaskKey, TaskState, Timestamp};
use tracing::info;

use crate::cluster::{Cluster, Out};
use crate::effects::{Action, Event, MessageToAgent, OperatorError, Reply};
use crate::input::LinkId;
use crate::registry::{MAX_TORN_DOWN, Record};
use crate::state::agents::Reach;
use crate::state::deadlines::Due;
use crate::state::frameworks::{Life, MAX_COMPLETED_FRAMEWORKS};
use crate::state::tasks::Kill;

impl Cluster {
    /// The stream broke: no more offers, and the clock of its return starts.
    pub(crate) fn framework_disconnected(
        &mut self,
        now: Timestamp,
        id: &FrameworkId,
        link: LinkId,
        out: &mut Out,
    ) {
        if self.frameworks.on_link(id, link).is_none() {
            self.count().stale_messages += 1;
            return;
        }
        self.drop_offers_to(now, id);
        self.reconciliations.forget(id);
        self.allocator.set_framework_active(id, false);
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        let timeout = framework.info.failover_timeout;
        info!(framework = %id, ?timeout, "framework disconnected");
        let until = now + timeout;
        framework.life = Life::Disconnected {
            until,
            recovered: false,
        };
        if timeout.is_zero() {
            self.remove_framework(now, id, out);
        } else {
            self.deadlines.set(Due::Failover(id.clone()), until);
        }
    }

    /// A framework is not back in time.
    pub(crate) fn failover_due(&mut self, now: Timestamp, id: &FrameworkId, out: &mut Out) {
        let away = self
            .frameworks
            .get(id)
            .is_some_and(|framework| framework.link().is_none() && !framework.is_completed());
        if away {
            info!(framework = %id, "framework did not come back in time");
            self.remove_framework(now, id, out);
        }
    }

    /// TEARDOWN, by the framework itself.
    pub(crate) fn tear_down(&mut self, now: Timestamp, id: &FrameworkId, out: &mut Out) {
        info!(framework = %id, "framework torn down");
        self.remember_torn_down(now, id, out);
        let link = self
            .frameworks
            .get(id)
            .and_then(|framework| framework.link());
        self.remove_framework(now, id, out);
        if let Some(link) = link {
            out.act.push(Action::Close { link });
        }
    }

    /// The same by an operator; the framework hears why its stream ends.
    pub(crate) fn tear_down_by_operator(
        &mut self,
        now: Timestamp,
        id: &FrameworkId,
        out: &mut Out,
    ) {
        if self.frameworks.get(id).is_none() {
            let done = self.torn_down.contains_key(id);
            out.reply = Some(if done {
                Reply::Done
            } else {
                Reply::Failed(OperatorError::UnknownFramework(id.clone()))
            });
            return;
        }
        let why = "Framework has been removed: torn down by an operator".to_owned();
        self.tell_framework(id, Event::Error(why), out);
        self.tear_down(now, id, out);
        out.reply = Some(Reply::Done);
    }

    fn remember_torn_down(&mut self, now: Timestamp, id: &FrameworkId, out: &mut Out) {
        if self.torn_down.len() >= MAX_TORN_DOWN {
            let oldest = self.torn_down.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.torn_down.remove(&oldest);
                out.store.push(Record::TornDownForgotten(oldest));
            }
        }
        self.torn_down.insert(id.clone(), now);
        out.store.push(Record::TornDown(id.clone(), now));
    }

    fn remove_framework(&mut self, now: Timestamp, id: &FrameworkId, out: &mut Out) {
        self.drop_offers_to(now, id);
        self.reconciliations.forget(id);
        self.allocator.set_framework_active(id, false);
        self.deadlines.clear(&Due::Failover(id.clone()));
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        if framework.is_completed() {
            return;
        }
        framework.life = Life::Completed { at: now };
        framework.demand = [].into();
        self.allocator.set_demand(id, Vec::new());
        self.count().frameworks_removed += 1;
        let tasks: Vec<TaskKey> = self
            .tasks
            .of_framework(id)
            .map(|task| task.key.clone())
            .collect();
        for key in tasks {
            self.orphan(now, &key, out);
        }
        self.shut_down_executors(id, out);
        self.executors.take_untold(id);
        self.forget_operations(id, out);
        self.settle_framework(id);
    }

    /// A task whose framework was removed: ended at once when its agent is out of reach, else to be ended by it. It is
    /// killed like any other, because an agent that is told to shut a framework down does not tell when that is done.
    pub(crate) fn orphan(&mut self, now: Timestamp, key: &TaskKey, out: &mut Out) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let agent = task.agent.clone();
        if let Some((uuid, state)) = task.unacknowledged.take() {
            self.acknowledge_in_its_place(&agent, key, Some(uuid), out);
            if state.is_terminal() {
                return self.orphan_over(&agent, key, out);
            }
        }
        match self.agents.get(&agent).map(|agent| agent.reach) {
            Some(Reach::Registered { .. } | Reach::Disconnected { .. }) => {}
            Some(Reach::Recovered { .. } | Reach::Unreachable { .. }) | None => {
                return self.end_orphan(now, key, out);
            }
        }
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if !task.holds_resources() {
            return; // Its last update is on its way and will be acknowledged in the framework's place.
        }
        task.state = TaskState::Killing;
        task.kill.get_or_insert_with(|| Kill::unasked(false));
        self.tell_kill(now, key, out);
    }

    /// The last word on a task of a removed framework. After the last of them the agent need not know the framework.
    pub(crate) fn orphan_over(&mut self, agent: &AgentId, key: &TaskKey, out: &mut Out) {
        self.tasks.archive(key);
        let more = self.tasks.of_agent(agent);
        if !more.iter().any(|other| other.framework == key.framework) {
            let framework = key.framework.clone();
            let message = MessageToAgent::ShutdownFramework { framework };
            self.tell_agent(agent, message, out);
        }
        self.settle_framework(&key.framework);
    }

    /// Forgets a removed framework where that matters, once its last task and executor is over; then the oldest of the removed ones.
    pub(crate) fn settle_framework(&mut self, id: &FrameworkId) {
        let completed = |cluster: &Self, id: &FrameworkId| {
            let framework = cluster.frameworks.get(id);
            framework.is_some_and(|framework| framework.is_completed())
                && cluster.tasks.of_framework(id).next().is_none()
        };
        if !completed(self, id) || !self.executors.custom_of(id).is_empty() {
            return;
        }
        self.allocator.remove_framework(id);
        if !self.schedule.windows().is_empty() {
            Arc::make_mut(&mut self.maintenance).remove_framework(id);
        }
        let mut over: Vec<(Timestamp, FrameworkId)> = Vec::new();
        for (other, framework) in self.frameworks.all.iter() {
            match framework.life {
                Life::Completed { at } if completed(self, other) => over.push((at, other.clone())),
                Life::Completed { .. } | Life::Active { .. } | Life::Disconnected { .. } => {}
            }
        }
        over.sort();
        for (_, oldest) in over.iter().rev().skip(MAX_COMPLETED_FRAMEWORKS) {
            self.frameworks.all.remove(oldest);
            self.tasks.forget_ended(oldest);
        }
    }
}
