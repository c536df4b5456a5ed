//! With a master, without one.

use std::sync::Arc;

use mete_model::{AgentId, Effects, Timestamp};
use tracing::{debug, error, info, warn};

use crate::effects::{Action, Outgoing, Registration, StopReason};
use crate::input::Order;
use crate::node::{Node, Stopping};
use crate::record::Record;
use crate::state::link::Stage;

impl Node {
    /// Begins an attempt to reach the master.
    pub(super) fn connect(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let link = self.link.open(now);
        out.act.push(Action::Connect { link });
    }

    /// It is time to come back, or an attempt has taken too long.
    pub(crate) fn link_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        if self.link.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        if !matches!(self.link.stage(), Stage::Waiting { .. }) {
            self.cut(now, "the master did not answer in time", out);
        } else {
            self.connect(now, out);
        }
    }

    /// A stream is open: the agent says who it is and what it has.
    pub(crate) fn connected(&mut self, now: Timestamp, link: u64, out: &mut Effects<Self>) {
        if !self.link.is_current(link) || !matches!(self.link.stage(), Stage::Opening { .. }) {
            out.act.push(Action::Disconnect { link });
            return;
        }
        self.link.greet(now);
        // The registration carries what waits: of each task the first report counts as sent with it.
        for key in self.updates.keys() {
            self.updates.send(now, &key);
        }
        let message = Box::new(Outgoing::Register(self.registration()));
        out.act.push(Action::Send { link, message });
    }

    fn registration(&mut self) -> Registration {
        let exited = self.custom_executors.tell_unheard();
        let mut waiting: Vec<_> = self
            .updates
            .iter()
            .map(|(key, status)| self.reported(key, status.clone()))
            .collect();
        // Stable: reports of one task keep their order.
        waiting.sort_by_key(|report| report.status.timestamp);
        let frameworks = self.tasks.frameworks();
        Registration {
            epoch: self.identity.epoch,
            agent: self.identity.agent.clone(),
            boot_id: self.identity.boot_id.clone(),
            tasks: self.tasks.iter().map(Arc::clone).collect(),
            custom_executors: self.custom_executors.iter().map(Arc::clone).collect(),
            exited,
            executors: self.executors.shared().values().map(Arc::clone).collect(),
            frameworks: frameworks
                .map(|(_, framework)| Arc::clone(&framework.info))
                .collect(),
            unacknowledged: waiting,
        }
    }

    /// Whether what came on a stream counts: only from the stream there is now, and only once admitted.
    pub(crate) fn hears(&self, link: u64, order: &Order) -> bool {
        let current = self.link.is_current(link);
        let greets = match order {
            Order::Registered { .. } | Order::Refused { .. } => {
                matches!(self.link.stage(), Stage::Greeting { .. })
            }
            Order::Shutdown { .. } => true,
            Order::Run { .. }
            | Order::RunGroup { .. }
            | Order::Unrunnable { .. }
            | Order::UnrunnableGroup { .. }
            | Order::Kill { .. }
            | Order::Acknowledge { .. }
            | Order::ResendUpdates(_)
            | Order::UpdateFramework(_)
            | Order::Standing(_)
            | Order::EraseVolumes(_)
            | Order::MessageExecutor { .. }
            | Order::ShutdownExecutor(_)
            | Order::ShutdownFramework(_) => self.link.registered().is_some(),
        };
        if !current || !greets {
            debug!(link, current, "order out of place is ignored");
        }
        current && greets
    }

    /// The master admits the agent, unless it is one that has been replaced.
    pub(crate) fn registered(
        &mut self,
        now: Timestamp,
        epoch: u64,
        agent: AgentId,
        out: &mut Effects<Self>,
    ) {
        if epoch < self.identity.epoch {
            warn!(
                epoch,
                obeyed = self.identity.epoch,
                "master of an older epoch is not obeyed"
            );
            self.cut(now, "its epoch is older than the last one obeyed", out);
            return;
        }
        info!(%agent, epoch, "agent is registered");
        if epoch != self.identity.epoch || self.identity.agent.as_ref() != Some(&agent) {
            self.identity.epoch = epoch;
            self.identity.agent = Some(agent);
            out.store.push(Record::Identity(self.identity.clone()));
        }
        self.link.registered_at(now);
        self.standing = None; // If there is one, it is said next.
        self.exits_heard(out);
        self.send_all(now, out);
    }

    /// The master does not admit the agent.
    pub(crate) fn refused(
        &mut self,
        now: Timestamp,
        reason: String,
        permanent: bool,
        out: &mut Effects<Self>,
    ) {
        if !permanent {
            warn!(reason, "master refuses the agent for now");
            self.cut(now, "refused", out);
            return;
        }
        error!(reason, "master refuses the agent for good");
        self.link.refused();
        self.updates.pause();
        if self.stopping.is_none() {
            let reason = StopReason::Refused(reason);
            out.act.push(Action::Stop(reason.clone()));
            self.stopping = Some(Stopping { reason, said: true });
        }
    }

    /// A stream has ended.
    pub(crate) fn disconnected(&mut self, now: Timestamp, link: u64, reason: &str) {
        if self.link.is_current(link) {
            self.lose(now, reason);
        }
    }

    /// Ends the stream; the agent comes back and registers.
    pub(crate) fn cut(&mut self, now: Timestamp, reason: &str, out: &mut Effects<Self>) {
        if let Some(link) = self.link.number() {
            out.act.push(Action::Disconnect { link });
        }
        self.lose(now, reason);
    }

    fn lose(&mut self, now: Timestamp, reason: &str) {
        let chance = self.names.thousandths();
        let wait = self.link.lost(now, chance);
        self.updates.pause();
        info!(
            reason,
            again_in_ms = wait.as_millis(),
            "agent is without a master"
        );
    }
}
