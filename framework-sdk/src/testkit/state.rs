//! All that the master knows: frameworks and their streams, agents, offers, tasks, what has been said. What calls lead to
//! is in `answers.rs`.
//!
//! Whatever changes it ends with [`State::settle`], so that what follows goes out in one order: what the master says
//! itself, updates that are due, offers; then the same for what agents do about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mete_model::{AgentId, FrameworkId, FrameworkInfo, Role, TaskKey, TaskStatus, Timestamp};
use mete_placement::FrameworkFacts;
use mete_proto::mesos::v1::scheduler::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::calls::Received;
use super::groups::Groups;
use super::messages;
use super::offers::Offers;
use super::tasks::Task;
use super::{Agent, Options, Refusal};

/// Events that wait for the network, as many as with the real master; a framework that takes none for so long is cut off.
pub(super) const MAX_QUEUED_EVENTS: usize = 131_072;
/// Calls that are remembered; then the oldest are forgotten.
const MAX_RECORDED_CALLS: usize = 100_000;

/// What goes down a stream.
pub(super) type Sender = mpsc::Sender<Result<Event, Status>>;

/// A stream to a framework.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) events: Sender,
    /// Ends the task that listens, and so the stream.
    pub(super) ended: CancellationToken,
}

/// A framework that has subscribed.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) info: FrameworkInfo,
    stream: Option<Stream>,
    /// When its tasks end, while it is away.
    away_until: Option<Timestamp>,
}

/// An agent, as long as it is known.
pub(super) type Agents = BTreeMap<AgentId, Agent>;

/// What an agent is told to do with a task.
#[derive(Debug)]
pub(super) enum Order {
    Start(TaskKey),
    Kill(TaskKey),
}

/// All that the master knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) options: Options,
    pub(super) port: u16,
    pub(super) incarnation: String,
    pub(super) agents: Agents,
    pub(super) agents_ever: usize,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    frameworks_ever: usize,
    pub(super) torn_down: BTreeSet<FrameworkId>,
    pub(super) offers: Offers,
    pub(super) tasks: BTreeMap<TaskKey, Task>,
    /// Those of them with reports that nobody has acknowledged, and maybe some that had.
    pub(super) reporting: BTreeSet<TaskKey>,
    pub(super) groups: Groups,
    /// What agents are told to do; empty between two changes.
    pub(super) orders: VecDeque<Order>,
    pub(super) calls: VecDeque<Received>,
    pub(super) refusal: Option<Refusal>,
    pub(super) heartbeats: bool,
    next_heartbeat: Timestamp,
}

impl State {
    pub(super) fn new(options: Options, incarnation: String, port: u16) -> Self {
        Self {
            options,
            port,
            incarnation,
            agents: Agents::new(),
            agents_ever: 0,
            frameworks: BTreeMap::new(),
            frameworks_ever: 0,
            torn_down: BTreeSet::new(),
            offers: Offers::new(),
            tasks: BTreeMap::new(),
            reporting: BTreeSet::new(),
            groups: Groups::default(),
            orders: VecDeque::new(),
            calls: VecDeque::new(),
            refusal: None,
            heartbeats: true,
            next_heartbeat: Timestamp::EPOCH,
        }
    }

    pub(super) fn record(&mut self, received: Received) {
        if self.calls.len() >= MAX_RECORDED_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(received);
    }

    // --- frameworks come and go

    /// Lets a framework in; its id, or the word it is refused with.
    pub(super) fn subscribe(
        &mut self,
        now: Timestamp,
        mut info: FrameworkInfo,
        suppressed: &BTreeSet<Role>,
        facts: FrameworkFacts,
        stream: Stream,
    ) -> Result<FrameworkId, String> {
        if let Some(Refusal::Error(text)) = &self.refusal {
            return Err(text.clone());
        }
        if info
            .id
            .as_ref()
            .is_some_and(|id| self.torn_down.contains(id))
        {
            return Err("Framework has been removed".to_owned()); // The words of Mesos, as those below.
        }
        if let Some(role) = suppressed.difference(&info.roles).next() {
            return Err(format!(
                "suppressed role {role} is not one of the framework's roles"
            ));
        }
        let id = info.id.clone().unwrap_or_else(|| self.new_framework_id());
        info.id = Some(id.clone());
        self.return_offers(now, &id);
        let before = self
            .frameworks
            .get_mut(&id)
            .and_then(|known| known.stream.take());
        if let Some(before) = before {
            finish(before, "Framework failed over");
        }
        let allocator = &mut self.offers.allocator;
        allocator.add_framework(id.clone(), facts);
        allocator.set_framework_active(&id, true);
        allocator.revive(&id, None);
        if !suppressed.is_empty() {
            allocator.suppress(&id, Some(suppressed));
        }
        let framework = Framework {
            info,
            stream: Some(stream),
            away_until: None,
        };
        self.frameworks.insert(id.clone(), framework);
        let subscribed = messages::subscribed(&id, self);
        self.say(&id, subscribed);
        Ok(id)
    }

    fn new_framework_id(&mut self) -> FrameworkId {
        let id = FrameworkId::new(format!("{}-{:04}", self.incarnation, self.frameworks_ever));
        self.frameworks_ever += 1;
        id.expect("an incarnation is a UUID")
    }

    /// A stream has ended: whose framework has no newer one is away.
    pub(super) fn stream_ended(
        &mut self,
        now: Timestamp,
        id: &FrameworkId,
        ended: &CancellationToken,
    ) {
        ended.cancel();
        let is_its = |stream: &Stream| stream.ended.is_cancelled();
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        if !framework.stream.as_ref().is_some_and(is_its) {
            return;
        }
        framework.stream = None;
        let timeout = framework.info.failover_timeout;
        framework.away_until = Some(now + timeout);
        self.return_offers(now, id);
        self.offers.allocator.set_framework_active(id, false);
        if timeout.is_zero() {
            self.remove_framework(id);
        }
    }

    /// TEARDOWN: its tasks end unheard, its id is worn out.
    pub(super) fn tear_down(&mut self, now: Timestamp, id: &FrameworkId) {
        self.return_offers(now, id);
        self.torn_down.insert(id.clone());
        let stream = self
            .frameworks
            .get_mut(id)
            .and_then(|known| known.stream.take());
        self.remove_framework(id);
        if let Some(stream) = stream {
            stream.ended.cancel();
        }
    }

    fn remove_framework(&mut self, id: &FrameworkId) {
        self.frameworks.remove(id);
        self.tasks.retain(|key, _| key.framework != *id);
        self.offers.allocator.remove_framework(id);
    }

    /// All offers to it are void, without a word.
    fn return_offers(&mut self, now: Timestamp, id: &FrameworkId) {
        for offer in self.offers.of_framework(id) {
            self.offers
                .hand_back(now, id, &offer, std::time::Duration::ZERO);
        }
    }

    // --- what goes out

    /// Says something to a framework that is there; one that takes nothing any more is cut off.
    pub(super) fn say(&mut self, id: &FrameworkId, event: Event) {
        let Some(stream) = self
            .frameworks
            .get(id)
            .and_then(|known| known.stream.as_ref())
        else {
            return;
        };
        if stream.events.try_send(Ok(event)).is_err() {
            stream.ended.cancel();
        }
    }

    /// Tells news of a task.
    pub(super) fn tell(&mut self, id: &FrameworkId, status: &TaskStatus) {
        self.say(id, messages::update(status));
    }

    /// Ends the stream of a framework with an ERROR.
    pub(super) fn dismiss(&mut self, now: Timestamp, id: &FrameworkId, why: &str) {
        let stream = self
            .frameworks
            .get(id)
            .and_then(|known| known.stream.clone());
        if let Some(stream) = stream {
            let ended = stream.ended.clone();
            finish(stream, why);
            self.stream_ended(now, id, &ended);
        }
    }

    /// Breaks the stream of a framework, as when the network fails.
    pub(super) fn cut(&mut self, now: Timestamp, id: &FrameworkId) {
        let stream = self
            .frameworks
            .get(id)
            .and_then(|known| known.stream.clone());
        if let Some(stream) = stream {
            // When its queue is full it ends all the same, without this.
            let _ = stream
                .events
                .try_send(Err(Status::unavailable("cut by the test")));
            self.stream_ended(now, id, &stream.ended);
        }
    }

    pub(super) fn connected(&self) -> Vec<FrameworkId> {
        let connected = self
            .frameworks
            .iter()
            .filter(|(_, known)| known.stream.is_some());
        connected.map(|(id, _)| id.clone()).collect()
    }

    /// Lets follow what follows from a change, or from the time.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.send_due(now);
        while let Some(order) = self.orders.pop_front() {
            if self.options.cooperative {
                self.carry_out(now, &order);
                self.send_due(now);
            }
        }
    }

    /// Updates, offers, heartbeats.
    fn send_due(&mut self, now: Timestamp) {
        let away = |known: &Framework| known.away_until.is_some_and(|until| until <= now);
        let gone = self.frameworks.iter().filter(|(_, known)| away(known));
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove_framework(&id);
        }
        for (framework, status) in self.due_reports(now) {
            self.tell(&framework, &status);
        }
        for (framework, offers) in self.offers.round(now, &self.incarnation, &self.agents) {
            let event = match self.frameworks.get(&framework) {
                Some(known) => messages::offers(&offers, &known.info.capabilities),
                None => continue,
            };
            self.say(&framework, event);
        }
        if self.heartbeats && now >= self.next_heartbeat {
            self.next_heartbeat = now + self.options.heartbeat;
            for framework in self.connected() {
                self.say(&framework, messages::heartbeat());
            }
        }
    }

    /// Whom to tell what: the first report of each task that has one and has waited long enough.
    fn due_reports(&mut self, now: Timestamp) -> Vec<(FrameworkId, TaskStatus)> {
        let repeat = self.options.repeat_updates;
        let mut due = Vec::new();
        self.reporting.retain(|key| {
            let Some(task) = self.tasks.get_mut(key) else {
                return false;
            };
            if let Some((status, is_over)) = task.due(now, repeat) {
                due.push((key.framework.clone(), status));
                if is_over {
                    let (agent, used) = (&task.spec.agent, &task.spec.resources);
                    self.offers.release(agent, &key.framework, &task.role, used);
                    if let Some((agent, role, used)) = self.groups.leave(key) {
                        self.offers.release(&agent, &key.framework, &role, &used);
                    }
                }
            }
            task.has_reports()
        });
        due
    }

    /// When time alone changes something.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let heartbeat = self.heartbeats.then_some(self.next_heartbeat);
        let repeat = self.options.repeat_updates;
        let reporting = self.reporting.iter();
        let updates = reporting.filter_map(|key| self.tasks.get(key)?.next_due(repeat));
        let away = self
            .frameworks
            .values()
            .filter_map(|known| known.away_until);
        let others = [heartbeat, self.offers.next_deadline()]
            .into_iter()
            .flatten();
        updates.chain(away).chain(others).min()
    }
}

/// The last word, and the end.
pub(super) fn finish(stream: Stream, why: &str) {
    // When its queue is full it ends all the same, without this.
    let _ = stream.events.try_send(Ok(messages::error(why)));
    stream.ended.cancel();
}
