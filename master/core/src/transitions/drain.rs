//! An agent gets no new tasks (deactivated), or loses those it has as well (drained): all at once, or, with a deadline,
//! first to frameworks that move what they have there, because inverse offers ask them to. What is left is killed so early
//! that it has its grace period and is over by the deadline.
//!
//! ```text
//! Active ──drain──▶ Draining ──all over and acknowledged──▶ Drained ──reactivate──▶ Active
//!    │                                      └──if asked for──▶ Gone
//!    └──deactivate──▶ Deactivated ──reactivate──▶ Active
//! ```
//! Both survive a restart of the master, which tells agents that come back to go on ending their tasks.

use std::time::Duration;

use mete_model::{AgentId, Capability, Reason, TaskKey, TaskState, TaskStatus, Timestamp};
use tracing::info;

use crate::cluster::{Cluster, Out};
use crate::effects::{OperatorError, Reply};
use crate::registry::Record;
use crate::state::agents::{Admission, Drain, Pace};
use crate::state::deadlines::Due;
use crate::state::tasks::{Kill, Task};

/// From SIGTERM to SIGKILL for tasks that say nothing about it: the default of an agent. Of such a task a draining agent
/// is told a grace period only when less than that is left.
const AGENTS_GRACE: Duration = Duration::from_secs(3);

impl Cluster {
    /// Empties an agent, which is offered to nobody from now on. An agent that drains already goes on at the new pace;
    /// what was killed stays killed.
    pub(crate) fn drain_agent(
        &mut self,
        now: Timestamp,
        id: &AgentId,
        pace: Pace,
        mark_gone: bool,
        out: &mut Out,
    ) {
        let Some(admission) = self.changeable(id, out) else {
            return;
        };
        let since = match admission {
            Admission::Draining(drain) => drain.since,
            Admission::Drained { .. } if !mark_gone => return,
            Admission::Active
            | Admission::Deactivated
            | Admission::Drained { .. }
            | Admission::Gone { .. } => now,
        };
        let drain = Drain {
            since,
            pace,
            mark_gone,
        };
        self.set_admission(now, id, Admission::Draining(drain), out);
        for key in self.tasks.of_agent(id) {
            self.kill_to_drain(now, &key, out);
        }
        self.settle_drain(now, id, out);
    }

    /// No new tasks on an agent; those it has run on.
    pub(crate) fn deactivate_agent(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        match self.changeable(id, out) {
            Some(Admission::Active) => self.set_admission(now, id, Admission::Deactivated, out),
            // An agent that drains, or has, gets no new tasks anyway.
            Some(
                Admission::Draining(_)
                | Admission::Drained { .. }
                | Admission::Deactivated
                | Admission::Gone { .. },
            )
            | None => {}
        }
    }

    /// New tasks on an agent again.
    pub(crate) fn reactivate_agent(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        match self.changeable(id, out) {
            Some(Admission::Drained { .. } | Admission::Deactivated) => {
                self.set_admission(now, id, Admission::Active, out);
            }
            Some(Admission::Draining(_)) => {
                let error = OperatorError::AgentDraining(id.clone());
                out.reply = Some(Reply::Failed(error));
            }
            Some(Admission::Active | Admission::Gone { .. }) | None => {}
        }
    }

    /// How an agent stands that an operator may change; else the answer says why not.
    fn changeable(&self, id: &AgentId, out: &mut Out) -> Option<Admission> {
        let agent = self.agents.get(id);
        let failed = match agent {
            None => OperatorError::UnknownAgent(id.clone()),
            Some(agent) if agent.is_gone() => OperatorError::AgentGone(id.clone()),
            Some(agent) => {
                out.reply = Some(Reply::Done);
                return Some(agent.admission);
            }
        };
        out.reply = Some(Reply::Failed(failed));
        None
    }

    fn set_admission(&mut self, now: Timestamp, id: &AgentId, admission: Admission, out: &mut Out) {
        let Some(agent) = self.agents.get_mut(id) else {
            return;
        };
        info!(agent = %id, from = agent.admission.as_str(), to = admission.as_str(), "admission of agent changed");
        let drained_before = agent.drain();
        agent.admission = admission;
        if agent.drain() != drained_before {
            self.agents.restated.insert(id.clone());
        }
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        let record = agent.record();
        let offerable = agent.is_offerable();
        out.store.push(Record::Agent(record));
        self.tell_allocator(id);
        if !offerable {
            self.rescind_of_agent(now, id, out);
        }
        self.plan_agent(now, id, out);
    }

    /// Tells the allocator how an agent stands: the one place that does.
    pub(crate) fn tell_allocator(&mut self, id: &AgentId) {
        let agent = self.agents.get(id);
        let admission = agent.map_or(mete_placement::Admission::Away, |agent| agent.offers());
        self.allocator.set_admission(id, admission);
    }

    /// Ends a task when its agent drains, and it is not being ended already: now, or when it is time to.
    pub(crate) fn kill_to_drain(&mut self, now: Timestamp, key: &TaskKey, out: &mut Out) {
        let Some(task) = self.tasks.get(key).filter(|task| task.holds_resources()) else {
            return;
        };
        let Some(drain) = self.drain_of(task) else {
            return;
        };
        let at = kill_at(drain, task).filter(|at| *at > now);
        if let Some(at) = at.filter(|_| task.kill.is_none()) {
            self.deadlines.set(Due::Kill(key.clone()), at);
            return;
        }
        if let Some(task) = self.tasks.get_mut(key) {
            task.kill.get_or_insert_with(|| Kill::unasked(true));
        }
        self.tell_kill(now, key, out);
    }

    fn drain_of(&self, task: &Task) -> Option<Drain> {
        self.agents.get(&task.agent)?.drain()
    }

    /// The grace period an agent is told for a task: what was asked for, and no more than is left when it drains.
    pub(crate) fn grace_left(&self, now: Timestamp, task: &Task) -> Option<Duration> {
        let asked = task.kill.as_ref().and_then(|kill| kill.grace_period);
        let Some(drain) = self.drain_of(task) else {
            return asked;
        };
        let left = drain.deadline().map(|deadline| deadline.since(now));
        let Some(most) = left.into_iter().chain(drain.max_grace()).min() else {
            return asked;
        };
        match asked.or(task.spec.kill_grace_period) {
            Some(grace) => Some(grace.min(most)),
            None => Some(most).filter(|most| *most < AGENTS_GRACE),
        }
    }

    /// What a draining agent says of a task that is killed, with the reason; with the state that says that the agent is
    /// gone when that comes next and the framework can tell. What a framework has ended itself, before or to move it, is its own
    /// doing.
    pub(crate) fn note_drain(&self, agent: &AgentId, key: &TaskKey, status: &mut TaskStatus) {
        match status.state {
            TaskState::Killing | TaskState::Killed => {}
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Unreachable
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => return,
        }
        let drain = self.agents.get(agent).and_then(|agent| agent.drain());
        let (Some(drain), Some(task)) = (drain, self.tasks.get(key)) else {
            return;
        };
        let by_drain = Some(Reason::AgentDraining);
        let told_so = task
            .latest()
            .is_some_and(|latest| latest.reason == by_drain);
        // What ended before is not the drain's doing, however late its last update is told.
        if !task.holds_resources() && !told_so && status.timestamp < drain.since {
            return;
        }
        let is_moved = task.kill.as_ref().is_some_and(|kill| !kill.by_drain);
        if is_moved || (drain.leave_by().is_some() && task.kill.is_none()) {
            return;
        }
        status.reason = by_drain;
        let said = status.message.take().unwrap_or_default();
        let why = format!("agent {agent} is being drained");
        status.message = Some(if said.is_empty() {
            why
        } else {
            format!("{why}: {said}")
        });
        let framework = self.frameworks.get(&key.framework);
        let can_tell =
            framework.is_some_and(|framework| framework.info.can(Capability::PartitionAware));
        if drain.mark_gone && can_tell && status.state == TaskState::Killed {
            status.state = TaskState::GoneByOperator;
        }
    }

    /// Agents that have lost their last task or operation in this step have drained.
    pub(crate) fn settle_drains(&mut self, now: Timestamp, out: &mut Out) {
        let mut emptied = self.tasks.take_emptied();
        emptied.append(&mut self.operations.take_emptied());
        for agent in emptied {
            self.settle_drain(now, &agent, out);
        }
    }

    /// An agent that drains has drained when it is there and no task and no operation is left, none of which anybody has yet
    /// to acknowledge either.
    pub(crate) fn settle_drain(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        let Some(agent) = self.agents.get(id).filter(|agent| agent.link().is_some()) else {
            return;
        };
        let is_empty = self.tasks.is_none_on(id) && self.operations.is_none_on(id);
        let Some(drain) = agent.drain().filter(|_| is_empty) else {
            return;
        };
        if drain.mark_gone {
            self.retire_agent(now, id, out);
        } else {
            let drained = Admission::Drained {
                since: Some(drain.since),
                max_grace: drain.ordered_grace(),
            };
            self.set_admission(now, id, drained, out);
        }
    }
}

/// When a task is to be killed so that it has its grace period and is over by the deadline; `None`: at once.
fn kill_at(drain: Drain, task: &Task) -> Option<Timestamp> {
    let own = task.spec.kill_grace_period.unwrap_or(AGENTS_GRACE);
    let grace = drain.max_grace().map_or(own, |most| own.min(most));
    drain.leave_by().map(|by| by - grace)
}
