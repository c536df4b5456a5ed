//! Pings missed, streams broken, agents gone.

use std::collections::BTreeSet;

use mete_model::{AgentId, Reason, TaskKey, TaskState, Timestamp};
use tracing::{info, warn};

use crate::cluster::{Cluster, Out};
use crate::effects::{Action, Event, MessageToAgent, OperatorError, Reply};
use crate::input::LinkId;
use crate::registry::Record;
use crate::state::agents::{Admission, Agent, Reach};
use crate::state::deadlines::Due;

impl Cluster {
    /// Time for the next ping; the last one should be answered by now.
    pub(crate) fn ping_due(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        let Some(pings) = self.agents.pings.get_mut(id) else {
            return;
        };
        if pings.answered < pings.sequence {
            pings.missed += 1;
            let missed = pings.missed;
            self.count().pings_missed += 1;
            if missed >= self.settings.max_missed_pings {
                let why = format!("{missed} pings in a row were not answered");
                return self.mark_unreachable(now, id, &why, out);
            }
            warn!(agent = %id, missed, "ping not answered");
        } else {
            pings.missed = 0;
        }
        let Some(pings) = self.agents.pings.get_mut(id) else {
            return;
        };
        pings.sequence += 1;
        let sequence = pings.sequence;
        self.tell_agent(id, MessageToAgent::Ping { sequence }, out);
        let next = now + self.settings.ping_interval;
        self.deadlines.set(Due::Ping(id.clone()), next);
    }

    /// An agent answers. Any answer will do: an older one says as well that it is there.
    pub(crate) fn pong(&mut self, id: &AgentId, link: LinkId, sequence: u64) {
        if self.agents.on_link(id, link).is_none() {
            self.count().stale_messages += 1;
            return;
        }
        if let Some(pings) = self.agents.pings.get_mut(id)
            && sequence <= pings.sequence
        {
            pings.answered = pings.sequence;
            pings.missed = 0;
        }
    }

    /// The stream of an agent broke: no more offers on it, and the clock of its return starts.
    pub(crate) fn agent_disconnected(
        &mut self,
        now: Timestamp,
        id: &AgentId,
        link: LinkId,
        out: &mut Out,
    ) {
        if self.agents.on_link(id, link).is_none() {
            self.count().stale_messages += 1;
            return;
        }
        info!(agent = %id, "agent disconnected");
        self.count().agent_disconnects += 1;
        let until = now + self.settings.agent_reregister_timeout;
        self.off_the_line(now, id, Reach::Disconnected { until }, out);
        self.deadlines.set(Due::Return(id.clone()), until);
    }

    /// The agent cannot be spoken to from now on: no pings, no offers.
    fn off_the_line(&mut self, now: Timestamp, id: &AgentId, reach: Reach, out: &mut Out) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.reach = reach;
        }
        self.agents.pings.remove(id);
        self.deadlines.clear(&Due::Ping(id.clone()));
        self.deadlines.clear(&Due::Return(id.clone()));
        self.tell_allocator(id);
        self.rescind_of_agent(now, id, out);
    }

    /// An agent is not back in time.
    pub(crate) fn return_due(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        self.mark_unreachable(now, id, "it did not come back in time", out);
    }

    pub(super) fn mark_unreachable(
        &mut self,
        now: Timestamp,
        id: &AgentId,
        why: &str,
        out: &mut Out,
    ) {
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        let link = agent.link();
        let was_back = match agent.reach {
            Reach::Recovered { .. } => false,
            Reach::Registered { .. } | Reach::Disconnected { .. } | Reach::Unreachable { .. } => {
                true
            }
        };
        warn!(agent = %id, why, "agent unreachable");
        self.count().agents_unreachable += 1;
        self.count().agents_not_back += u64::from(!was_back);
        self.off_the_line(now, id, Reach::Unreachable { since: now }, out);
        let forget = now + self.settings.forget_after;
        self.deadlines.set(Due::Forget(id.clone()), forget);
        if let Some(agent) = self.agents.get(id) {
            out.store.push(Record::Agent(agent.record()));
        }
        for key in self.tasks.of_agent(id) {
            self.task_unreachable(now, &key, why, out);
        }
        self.allocator.remove_agent(id);
        self.lose_executors(id);
        self.unplan_agent(id, out);
        self.tell_failure(id, out);
        if let Some(link) = link {
            out.act.push(Action::Close { link });
        }
        self.no_longer_awaited(id);
    }

    /// The agent of a task is not heard of: the task may run on, and come back with it.
    fn task_unreachable(&mut self, now: Timestamp, key: &TaskKey, why: &str, out: &mut Out) {
        self.deadlines.clear(&Due::Kill(key.clone()));
        let orphan = self
            .frameworks
            .get(&key.framework)
            .is_none_or(|framework| framework.is_completed());
        if orphan {
            return self.end_orphan(now, key, out);
        }
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if !task.holds_resources() {
            return; // Its agent brings the last update again, if it comes back.
        }
        task.state = TaskState::Unreachable;
        let mut status = task.status_by_master(now);
        status.reason = Some(Reason::AgentRemoved);
        status.message = Some(format!("agent {} is unreachable: {why}", task.agent));
        status.unreachable_time = Some(now);
        status.healthy = None;
        let status = task.note(status);
        self.answer(&key.framework, status, out);
    }

    /// Everybody hears that an agent is lost.
    fn tell_failure(&self, id: &AgentId, out: &mut Out) {
        for framework in self.frameworks.all.values() {
            if let Some(link) = framework.link() {
                let event = Event::Failure { agent: id.clone() };
                out.act.push(Action::ToFramework { link, event });
            }
        }
    }

    /// An operator says that an agent never comes back.
    pub(crate) fn mark_agent_gone(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        let Some(agent) = self.agents.get(id) else {
            out.reply = Some(Reply::Failed(OperatorError::UnknownAgent(id.clone())));
            return;
        };
        out.reply = Some(Reply::Done);
        if !agent.is_gone() {
            self.retire_agent(now, id, out);
        }
    }

    /// Marks an agent gone.
    pub(crate) fn retire_agent(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        info!(agent = %id, "agent marked gone");
        if let Some(agent) = self.agents.get_mut(id) {
            agent.admission = Admission::Gone { at: now };
        }
        let end = (TaskState::GoneByOperator, Reason::AgentRemovedByOperator);
        self.end_agent(now, id, end, "the agent was marked gone", GONE, out);
        self.deadlines.clear(&Due::Forget(id.clone()));
    }

    /// An agent goes down with its machine. It may come back when that is up.
    pub(crate) fn take_agent_down(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        info!(agent = %id, "agent taken down with its machine");
        let end = (TaskState::Gone, Reason::AgentRemoved);
        let message = "the machine was taken down for maintenance";
        self.end_agent(now, id, end, message, DOWN, out);
        let forget = now + self.settings.forget_after;
        self.deadlines.set(Due::Forget(id.clone()), forget);
    }

    /// The agent is out with all its tasks; if it is there, it is told to end them and itself.
    fn end_agent(
        &mut self,
        now: Timestamp,
        id: &AgentId,
        end: (TaskState, Reason),
        message: &str,
        shutdown: &str,
        out: &mut Out,
    ) {
        let link = self.agents.get(id).and_then(|agent| agent.link());
        self.off_the_line(now, id, Reach::Unreachable { since: now }, out);
        if let Some(agent) = self.agents.get(id) {
            out.store.push(Record::Agent(Agent::record(agent)));
        }
        for key in self.tasks.of_agent(id) {
            self.end_task(now, &key, end, message, out);
            self.settle_framework(&key.framework);
        }
        self.allocator.remove_agent(id);
        self.unplan_agent(id, out);
        self.tell_failure(id, out);
        if let Some(link) = link {
            let reason = shutdown.to_owned();
            let message = MessageToAgent::Shutdown { reason };
            out.act.push(Action::ToAgent { link, message });
            out.act.push(Action::Close { link });
        }
        self.no_longer_awaited(id);
    }

    /// An agent was unreachable for so long that nobody waits for it: its tasks are gone with it.
    pub(crate) fn forget_agent(&mut self, id: &AgentId, out: &mut Out) {
        info!(agent = %id, "agent forgotten");
        for key in self.tasks.of_agent(id) {
            self.tasks.archive(&key);
        }
        self.agents.all.remove(id);
        self.lose_executors(id);
        out.store.push(Record::AgentForgotten(id.clone()));
        if self.erasures.forget(id) {
            out.store.push(Record::Erasing(id.clone(), BTreeSet::new()));
        }
    }
}

/// What an agent on a machine that is down is told.
pub(crate) const DOWN: &str = "this machine is down for maintenance";
/// What an agent that was marked gone is told.
pub(crate) const GONE: &str = "this agent was marked gone by an operator";
