//! What is known of tasks, told on demand.
//!
//! | the task | its agent | answer |
//! |---|---|---|
//! | known | | its latest state |
//! | not known | not back yet, or not named while some agent is not back yet | none |
//! | | connected, or away for a moment | GONE |
//! | | unreachable | UNREACHABLE, and since when |
//! | | marked gone | GONE_BY_OPERATOR |
//! | | not known, from before this start, within the return window | none |
//! | | not known, or not named | UNKNOWN |

use mete_model::{
    AgentId, FrameworkId, OperationId, Reason, Source, TaskId, TaskState, TaskStatus, Timestamp,
};

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, OperationOutcome};
use crate::state::agents::{Admission, Reach};
use crate::state::tasks;
use crate::transitions::feedback;

impl Cluster {
    /// RECONCILE: of the tasks named, or of all that are known when none is.
    pub(crate) fn reconcile(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        named: Vec<(TaskId, Option<AgentId>)>,
        out: &mut Out,
    ) {
        self.count().reconciliations += 1;
        if named.is_empty() {
            let all = self.tasks.of_framework(framework);
            for mut status in all
                .map(|task| task.status_by_master(now))
                .collect::<Vec<_>>()
            {
                mark(&mut status);
                self.answer(framework, status, out);
            }
            return;
        }
        for (task, agent) in named {
            self.reconcile_one(now, framework, task, agent, out);
        }
    }

    pub(crate) fn reconcile_one(
        &self,
        now: Timestamp,
        framework: &FrameworkId,
        task: TaskId,
        agent: Option<AgentId>,
        out: &mut Out,
    ) {
        let known = self.tasks.get(&tasks::key(framework, &task));
        let mut status = match known {
            Some(known) => known.status_by_master(now),
            None => match self.state_of_unknown(now, agent.as_ref()) {
                None => return,
                Some((state, unreachable_time)) => {
                    let mut status = TaskStatus::new(task, state, Source::Master, now);
                    status.agent = agent;
                    status.unreachable_time = unreachable_time;
                    status
                }
            },
        };
        mark(&mut status);
        self.answer(framework, status, out);
    }

    /// RECONCILE_OPERATIONS: an operation is over when its ACCEPT is, and known by name until it is acknowledged. Of one that
    /// is not known what can be said is where its agent is.
    pub(crate) fn reconcile_operations(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        named: Vec<(OperationId, Option<AgentId>)>,
        out: &mut Out,
    ) {
        self.count().reconciliations += 1;
        if named.is_empty() {
            return self.tell_operations(now, framework, out);
        }
        for (id, agent) in named {
            let key = (framework.clone(), id);
            if let Some(done) = self.operations.get(&key) {
                self.tell_framework(framework, feedback::event(done), out);
                continue;
            }
            let id = key.1;
            let outcome = match self.state_of_unknown(now, agent.as_ref()) {
                None => OperationOutcome::Recovering,
                Some((TaskState::Unreachable, _)) => OperationOutcome::Unreachable,
                Some((TaskState::GoneByOperator, _)) => OperationOutcome::GoneByOperator,
                Some(_) => OperationOutcome::Unknown,
            };
            let event = Event::Operation { id, agent, outcome };
            self.tell_framework(framework, event, out);
        }
    }

    /// What can be said of a task that is not known; `None`: nothing yet.
    fn state_of_unknown(
        &self,
        now: Timestamp,
        agent: Option<&AgentId>,
    ) -> Option<(TaskState, Option<Timestamp>)> {
        let Some(agent) = agent else {
            return self
                .agents
                .awaited
                .is_empty()
                .then_some((TaskState::Unknown, None));
        };
        let Some(agent) = self.agents.get(agent) else {
            // A master that lost its state knows no agent, and all of them are about to come back.
            let foreign = !agent.as_str().starts_with(&self.settings.incarnation);
            let too_early = now < self.started + self.settings.return_window;
            return (!foreign || !too_early).then_some((TaskState::Unknown, None));
        };
        match (agent.admission, agent.reach) {
            (Admission::Gone { .. }, _) => Some((TaskState::GoneByOperator, None)),
            (_, Reach::Recovered { .. }) => None,
            (_, Reach::Registered { .. } | Reach::Disconnected { .. }) => {
                Some((TaskState::Gone, None))
            }
            (_, Reach::Unreachable { since }) => Some((TaskState::Unreachable, Some(since))),
        }
    }
}

fn mark(status: &mut TaskStatus) {
    status.reason = Some(Reason::Reconciliation);
    status.message = Some("latest state, as asked for".to_owned());
}
