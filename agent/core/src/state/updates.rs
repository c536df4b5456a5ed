//! Reports that wait for their acknowledgement: per task a queue, the first of it in flight.
//!
//! ```text
//! queued ─▶ in flight ─▶ acknowledged: the next one goes
//!             ▲   │
//!             └───┘ sent again after 10 s, 20 s, … 10 min, while there is a master
//! ```
//! Invariants: reports of a task are acknowledged in the order in which they were made; a queue has at most
//! [`MAX_QUEUED`] reports, then news that nobody has seen yet are replaced by newer ones; a task's end is its last report.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::turns::Turns;
use mete_model::{Deadlines, FrameworkId, TaskKey, TaskStatus, Timestamp, UpdateId};

/// First wait for an acknowledgement (Mesos: 10 s doubling to 10 min).
pub(crate) const FIRST_RETRY: Duration = Duration::from_secs(10);
/// Longest wait for an acknowledgement.
pub(crate) const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// Most reports that wait per task. A life has five; the rest is health that changes while the framework is away, or what an
/// executor of its own says, of which only the last matters.
pub(crate) const MAX_QUEUED: usize = 16;
/// Most queues that belong to no task: answers to launches that were refused and kills of tasks not known. Twice the tasks that
/// an agent takes, a kilobyte each.
pub(crate) const MAX_ORPHANS: usize = 20_000;

/// All queues. No queue is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Updates {
    queues: BTreeMap<TaskKey, Queue>,
    /// When the report in flight of each is sent again.
    again: Deadlines<TaskKey>,
    /// Whose report the stream is given next.
    turns: Turns,
    /// How many queues belong to no task.
    orphans: usize,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<TaskStatus>,
    /// How long the report in flight waits for its acknowledgement.
    flight: Option<Duration>,
    /// Belongs to no task: not stored, forgotten with the link.
    orphan: bool,
}

/// What an acknowledgement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// The next report of the task may go.
    Next,
    /// Nothing waits any more.
    Empty,
    /// It is not the report in flight: an old acknowledgement, come twice.
    Stale,
}

impl Updates {
    /// Puts a report at the end of its task's queue.
    pub(crate) fn push(&mut self, key: &TaskKey, status: TaskStatus) {
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.waiting.len() >= MAX_QUEUED
            && let Some(last) = queue.waiting.back_mut()
        {
            *last = status;
        } else {
            queue.waiting.push_back(status);
        }
    }

    /// A report about a task that is not here; false when there are too many to keep one more.
    pub(crate) fn push_orphan(&mut self, key: &TaskKey, status: TaskStatus) -> bool {
        if self.queues.contains_key(key) {
            return true;
        }
        if self.orphans >= MAX_ORPHANS {
            return false;
        }
        let queue = Queue {
            waiting: VecDeque::from([status]),
            flight: None,
            orphan: true,
        };
        self.queues.insert(key.clone(), queue);
        self.orphans += 1;
        true
    }

    /// Fills the queue of a task as it was stored.
    pub(crate) fn restore(&mut self, key: &TaskKey, waiting: Vec<TaskStatus>) {
        if !waiting.is_empty() {
            let queue = Queue {
                waiting: waiting.into(),
                ..Queue::default()
            };
            self.queues.insert(key.clone(), queue);
        }
    }

    /// The first report of a queue as soon as it may go on the stream: at once, or in its turn. Marks it as sent.
    pub(crate) fn give(&mut self, now: Timestamp, key: &TaskKey) -> Option<TaskStatus> {
        let is_ready = self.queues.get(key)?.flight.is_none();
        let report = if is_ready && self.turns.has_room(key) {
            self.send(now, key)?
        } else {
            return None;
        };
        self.turns.give();
        Some(report)
    }

    /// As [`give`](Self::give), of a report whose acknowledgement has not come in time.
    pub(crate) fn give_again(&mut self, now: Timestamp, key: &TaskKey) -> Option<TaskStatus> {
        if !self.turns.has_room(key) {
            return None;
        }
        let report = self.send_again(now, key)?;
        self.turns.give();
        Some(report)
    }

    /// The stream has taken so many since it began.
    pub(crate) fn taken(&mut self, total: u64) {
        self.turns.taken(total);
    }

    /// The next report that has waited for room, and whose it is.
    pub(crate) fn next_turn(&mut self, now: Timestamp) -> Option<(TaskKey, TaskStatus)> {
        while let Some(key) = self.turns.next() {
            let report = self.give(now, &key);
            if let Some(report) = report.or_else(|| self.give_again(now, &key)) {
                return Some((key, report));
            }
        }
        None
    }

    /// The report to send now, if the first one of the queue is not in flight; marks it as sent.
    pub(crate) fn send(&mut self, now: Timestamp, key: &TaskKey) -> Option<TaskStatus> {
        let queue = self.queues.get_mut(key)?;
        if queue.flight.is_some() {
            return None;
        }
        queue.flight = Some(FIRST_RETRY);
        self.again.set(key.clone(), now + FIRST_RETRY);
        queue.waiting.front().cloned()
    }

    /// The report in flight, to be sent again; the wait for its acknowledgement doubles.
    fn send_again(&mut self, now: Timestamp, key: &TaskKey) -> Option<TaskStatus> {
        let queue = self.queues.get_mut(key)?;
        let wait = queue.flight.as_mut()?;
        *wait = (*wait * 2).min(LONGEST_RETRY);
        self.again.set(key.clone(), now + *wait);
        queue.waiting.front().cloned()
    }

    /// Nothing of a framework is in flight any more; the tasks of which reports wait.
    pub(crate) fn begin_again(&mut self, framework: &FrameworkId) -> Vec<TaskKey> {
        let mut keys = Vec::new();
        let its = self.queues.iter_mut();
        for (key, queue) in its.filter(|(key, _)| key.framework == *framework) {
            queue.flight = None;
            self.again.clear(key);
            keys.push(key.clone());
        }
        keys
    }

    /// Takes the report in flight off when it is the one acknowledged.
    pub(crate) fn acknowledge(&mut self, key: &TaskKey, update: UpdateId) -> Acknowledged {
        let Some(queue) = self.queues.get_mut(key) else {
            return Acknowledged::Stale;
        };
        if queue.waiting.front().and_then(|status| status.uuid) != Some(update) {
            return Acknowledged::Stale;
        }
        queue.waiting.pop_front();
        queue.flight = None;
        self.again.clear(key);
        if queue.waiting.is_empty() {
            self.forget(key);
            Acknowledged::Empty
        } else {
            Acknowledged::Next
        }
    }

    /// The master is gone: nothing is in flight any more, and answers to what it asked are moot.
    pub(crate) fn pause(&mut self) {
        self.queues.retain(|_, queue| !queue.orphan);
        self.orphans = 0;
        self.turns.begin_anew();
        for queue in self.queues.values_mut() {
            queue.flight = None;
        }
        self.again.clear_all();
    }

    pub(crate) fn forget(&mut self, key: &TaskKey) {
        let queue = self.queues.remove(key);
        if queue.is_some_and(|queue| queue.orphan) {
            self.orphans -= 1;
        }
        self.again.clear(key);
        self.turns.leave(key);
    }

    pub(crate) fn has(&self, key: &TaskKey) -> bool {
        self.queues.contains_key(key)
    }

    /// Whether a report waits for its acknowledgement.
    pub(crate) fn holds(&self, key: &TaskKey, update: UpdateId) -> bool {
        self.of(key).any(|status| status.uuid == Some(update))
    }

    /// What waits for one task.
    pub(crate) fn of(&self, key: &TaskKey) -> impl Iterator<Item = &TaskStatus> {
        self.queues
            .get(key)
            .into_iter()
            .flat_map(|queue| &queue.waiting)
    }

    /// Everything that waits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TaskKey, &TaskStatus)> {
        self.queues
            .iter()
            .flat_map(|(key, queue)| queue.waiting.iter().map(move |status| (key, status)))
    }

    pub(crate) fn keys(&self) -> Vec<TaskKey> {
        self.queues.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.values().map(|queue| queue.waiting.len()).sum()
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.again.next()
    }

    /// Takes the tasks whose report in flight is to be sent again; each must be.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Vec<TaskKey> {
        self.again.pop_all(now)
    }
}
