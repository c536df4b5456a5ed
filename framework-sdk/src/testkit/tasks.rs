//! A task and its reports: one is under way at a time, and comes again until it is acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use mete_model::{Role, Source, TaskSpec, TaskState, TaskStatus, Timestamp, UpdateId};

/// Reports of one task that nobody has acknowledged; beyond that the last one makes room for the new.
const MAX_REPORTS: usize = 1_000;

/// A task that was launched, until its end is acknowledged.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) spec: TaskSpec,
    pub(super) role: Role,
    /// As its agent knows it.
    state: TaskState,
    /// As the master knows it: what was reported last.
    pub(super) told: TaskState,
    healthy: Option<bool>,
    /// Its agent is not heard of.
    pub(super) unreachable_since: Option<Timestamp>,
    reports: VecDeque<TaskStatus>,
    /// When the first of the reports was last sent.
    sent: Option<Timestamp>,
}

impl Task {
    pub(super) const fn new(spec: TaskSpec, role: Role) -> Self {
        Self {
            spec,
            role,
            state: TaskState::Staging,
            told: TaskState::Staging,
            healthy: None,
            unreachable_since: None,
            reports: VecDeque::new(),
            sent: None,
        }
    }

    /// A report as an executor makes it, with an id of its own.
    pub(super) fn news(&self, now: Timestamp, state: TaskState, ip: &str) -> TaskStatus {
        TaskStatus {
            agent: Some(self.spec.agent.clone()),
            uuid: Some(UpdateId(rand::random())),
            ip_addresses: vec![ip.to_owned()],
            ..TaskStatus::new(self.spec.id.clone(), state, Source::Executor, now)
        }
    }

    /// Takes news in; false when the task is over and nothing can follow.
    pub(super) fn report(&mut self, status: TaskStatus) -> bool {
        if self.state.is_terminal() {
            return false;
        }
        self.state = status.state;
        if self.reports.len() >= MAX_REPORTS {
            self.reports.pop_back();
        }
        self.reports.push_back(status);
        true
    }

    /// The report that is to be sent now, if there is one, and whether the master learns from it that the task is over.
    pub(super) fn due(&mut self, now: Timestamp, repeat: Duration) -> Option<(TaskStatus, bool)> {
        let due = self.next_due(repeat).is_some_and(|at| at <= now);
        let first = self.reports.front().filter(|_| due)?;
        let is_news = self.told != first.state;
        self.sent = Some(now);
        self.told = first.state;
        self.healthy = first.healthy;
        Some((first.clone(), is_news && self.told.is_terminal()))
    }

    /// Whether it has said something that nobody has acknowledged.
    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// When the next report is to be sent.
    pub(super) fn next_due(&self, repeat: Duration) -> Option<Timestamp> {
        if !self.has_reports() || self.unreachable_since.is_some() {
            return None;
        }
        Some(self.sent.map_or(Timestamp::EPOCH, |sent| sent + repeat))
    }

    /// Takes the report with this id as heard; others are left alone.
    pub(super) fn acknowledge(&mut self, uuid: UpdateId) {
        if self
            .reports
            .front()
            .is_some_and(|first| first.uuid == Some(uuid))
        {
            self.reports.pop_front();
            self.sent = None;
        }
    }

    /// Whether its end has been heard.
    pub(super) fn is_over(&self) -> bool {
        self.state.is_terminal() && !self.has_reports()
    }

    /// What the master says of it when asked; no acknowledgement is wanted.
    pub(super) fn as_known(&self, now: Timestamp) -> TaskStatus {
        let state = match self.unreachable_since {
            Some(_) if !self.told.is_terminal() => TaskState::Unreachable,
            Some(_) | None => self.told,
        };
        TaskStatus {
            agent: Some(self.spec.agent.clone()),
            healthy: self.healthy,
            unreachable_time: self.unreachable_since,
            ..TaskStatus::new(self.spec.id.clone(), state, Source::Master, now)
        }
    }
}
