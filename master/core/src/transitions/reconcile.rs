//! What is known of tasks, told on demand.
//!
//! | the task | its agent | answer |
//! |---|---|---|
//! | known | | its latest state |
//! | not known | not back yet, or not named while some agent is not back yet | none |
//! | | connected, or away for a moment | GONE |
//! | | unreachable | UNREACHABLE, and since when |
//! | | marked gone | GONE_BY_OPERATOR |
//! | | not known, of another master, by one that began without any agent, within the return window | none |
//! | | not known, or not named | UNKNOWN |
//!
//! Long answers are told in pieces, each when the one before has been read ([`reconciliations`](crate::state::reconciliations)).

use mete_model::{
    AgentId, FrameworkId, OperationId, Reason, Source, TaskId, TaskState, TaskStatus, Timestamp,
};
use tracing::warn;

use crate::cluster::{Cluster, Out};
use crate::effects::{Action, Event, OperationOutcome};
use crate::input::LinkId;
use crate::state::agents::{Admission, Reach};
use crate::state::reconciliations::{Asked, MAX_NAMED, PIECE};
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
        let asked = match named.is_empty() {
            true => Asked::All { after: None },
            false => Asked::Named(named.into()),
        };
        let is_told_another = self.reconciliations.has(framework);
        if !self.reconciliations.ask(framework, asked) {
            let why = format!("RECONCILE is refused while {MAX_NAMED} tasks wait to be answered");
            warn!(%framework, "{why}");
            return self.refuse_call(why, out);
        }
        if !is_told_another {
            self.tell_piece(now, framework, out);
        }
    }

    /// What was told has been read: now the next piece.
    pub(crate) fn stream_read(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        link: LinkId,
        out: &mut Out,
    ) {
        if self.frameworks.on_link(framework, link).is_some() {
            self.tell_piece(now, framework, out);
        }
    }

    /// Answers what was asked for first, up to a piece of it; asks to hear when that has been read if more is to be told.
    fn tell_piece(&mut self, now: Timestamp, framework: &FrameworkId, out: &mut Out) {
        let rest = match self.reconciliations.next(framework) {
            None => return,
            Some(Asked::Named(mut named)) => {
                let piece = named.len().min(PIECE);
                for (task, agent) in named.drain(..piece) {
                    self.reconcile_one(now, framework, task, agent, out);
                }
                (!named.is_empty()).then_some(Asked::Named(named))
            }
            Some(Asked::All { after }) => {
                let tasks = self.tasks.of_framework_after(framework, after.as_ref());
                let piece: Vec<_> = tasks
                    .take(PIECE)
                    .map(|task| task.status_by_master(now))
                    .collect();
                let last = piece.get(PIECE - 1).map(|status| status.task.clone());
                for mut status in piece {
                    mark(&mut status);
                    self.answer(framework, status, out);
                }
                last.map(|last| Asked::All { after: Some(last) })
            }
        };
        if let Some(rest) = rest {
            self.reconciliations.go_on_with(framework, rest);
        }
        let known = self.frameworks.get(framework);
        if self.reconciliations.has(framework)
            && let Some(link) = known.and_then(|known| known.link())
        {
            out.act.push(Action::SayWhenRead { link });
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
            let may_come =
                self.began_blank && is_of_another_master(agent, &self.settings.incarnation);
            let too_early = now < self.started + self.settings.return_window;
            return (!may_come || !too_early).then_some((TaskState::Unknown, None));
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

/// Whether an id is one that a master gives out, and not this one.
fn is_of_another_master(agent: &AgentId, incarnation: &str) -> bool {
    let parts = agent.as_str().rsplit_once("-S");
    parts.is_some_and(|(master, number)| {
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number && master != incarnation
    })
}

fn mark(status: &mut TaskStatus) {
    status.reason = Some(Reason::Reconciliation);
    status.message = Some("Reconciliation: Latest task state".to_owned());
}
