//! What agents do: run tasks, report, go away and come back.

use std::time::Duration;

use mete_model::{AgentId, Capability, Reason, TaskKey, TaskState, TaskStatus, Timestamp};

use super::Agent;
use super::messages;
use super::state::{Order, State};

impl State {
    pub(super) fn add_agent(&mut self, agent: Agent) -> AgentId {
        let id = AgentId::new(format!("{}-S{}", self.incarnation, self.agents_ever));
        let id = id.expect("an incarnation is a UUID");
        self.agents_ever += 1;
        self.offers.allocator.add_agent(id.clone(), agent.facts());
        self.agents.insert(id.clone(), agent);
        id
    }

    pub(super) fn carry_out(&mut self, now: Timestamp, order: &Order) {
        match order {
            Order::Start(key) => {
                self.report(now, key, TaskState::Starting, |_| {});
                self.report(now, key, TaskState::Running, |_| {});
            }
            Order::Kill(key) => {
                if self.can(&key.framework, Capability::TaskKillingState) {
                    self.report(now, key, TaskState::Killing, |_| {});
                }
                self.report(now, key, TaskState::Killed, |_| {});
            }
        }
    }

    /// A task moves on. False when there is no such task, or it is over.
    pub(super) fn report(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        state: TaskState,
        change: impl FnOnce(&mut TaskStatus),
    ) -> bool {
        let Some(task) = self.tasks.get_mut(key) else {
            return false;
        };
        let host = self.agents.get(&task.spec.agent);
        let ip = host.map_or_else(String::new, |agent| agent.endpoint.ip.clone());
        let mut status = task.news(now, state, &ip);
        change(&mut status);
        let is_news = task.report(status);
        self.reporting.insert(key.clone());
        if is_news && state.is_terminal() && state != TaskState::Finished {
            for other in self.groups.others(key) {
                self.orders.push_back(Order::Kill(other));
            }
        }
        is_news
    }

    /// An agent is not heard of any more: its offers are withdrawn, its tasks unreachable.
    pub(super) fn lose_agent(&mut self, now: Timestamp, id: &AgentId) {
        for offer in self.offers.of_agent(id) {
            self.rescind(now, &offer, Duration::ZERO);
        }
        let mut lost = Vec::new();
        for (key, task) in self
            .tasks
            .iter_mut()
            .filter(|(_, task)| task.spec.agent == *id)
        {
            task.unreachable_since = Some(now);
            if !task.told.is_terminal() {
                let mut status = task.as_known(now);
                status.reason = Some(Reason::AgentRemoved);
                status.healthy = None;
                lost.push((key.framework.clone(), status));
            }
        }
        for (framework, status) in lost {
            self.tell_by_master(&framework, status);
        }
        self.offers.allocator.remove_agent(id);
        for framework in self.connected() {
            self.say(&framework, messages::failure(id));
        }
    }

    /// An agent that was lost is back with its tasks.
    pub(super) fn return_agent(&mut self, now: Timestamp, id: &AgentId) {
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        self.offers.allocator.add_agent(id.clone(), agent.facts());
        let mut back = Vec::new();
        for (key, task) in self
            .tasks
            .iter_mut()
            .filter(|(_, task)| task.spec.agent == *id)
        {
            let was_lost = task.unreachable_since.take().is_some();
            if task.told.is_terminal() {
                continue;
            }
            let (framework, used) = (&key.framework, &task.spec.resources);
            self.offers.allocator.claim(id, framework, &task.role, used);
            if was_lost {
                let mut status = task.as_known(now);
                status.reason = Some(Reason::AgentReregistered);
                back.push((framework.clone(), status));
            }
        }
        for (framework, status) in back {
            self.tell_by_master(&framework, status);
        }
    }
}
