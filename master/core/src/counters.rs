//! What has happened how often since this master started; for `/metrics`.

use std::collections::BTreeMap;

use mete_model::{Reason, Source, TaskState, TaskStatus};

/// Counts. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Agents that came for the first time.
    pub agent_registrations: u64,
    /// Agents that came back.
    pub agent_returns: u64,
    /// Agents that were not let in.
    pub agents_refused: u64,
    /// Agents whose stream broke.
    pub agent_disconnects: u64,
    /// Agents marked unreachable.
    pub agents_unreachable: u64,
    /// Those of them that have not come back to this master since it took over.
    pub agents_not_back: u64,
    /// Pings that were not answered in time.
    pub pings_missed: u64,
    /// Subscriptions granted.
    pub subscriptions: u64,
    /// Subscriptions refused.
    pub subscriptions_refused: u64,
    /// Subscriptions that took over a live stream.
    pub failovers: u64,
    /// Frameworks removed: torn down, or away for too long.
    pub frameworks_removed: u64,
    /// Rounds of allocation.
    pub rounds: u64,
    /// Offers made.
    pub offers_made: u64,
    /// Offers used.
    pub offers_accepted: u64,
    /// Offers handed back.
    pub offers_declined: u64,
    /// Offers withdrawn, timed-out ones included.
    pub offers_rescinded: u64,
    /// Offers that timed out.
    pub offers_timed_out: u64,
    /// Inverse offers made.
    pub inverse_offers_made: u64,
    /// Inverse offers accepted.
    pub inverse_offers_accepted: u64,
    /// Inverse offers declined.
    pub inverse_offers_declined: u64,
    /// ACCEPTs whose offers were no good.
    pub accepts_refused: u64,
    /// Tasks sent to agents.
    pub tasks_launched: u64,
    /// Reservations and volumes made and ended.
    pub operations: u64,
    /// Operations that cannot be or are not carried yet.
    pub operations_dropped: u64,
    /// Calls without effect here.
    pub calls_ignored: u64,
    /// Calls that were answered with an ERROR.
    pub calls_refused: u64,
    /// Messages of streams whose place another has taken.
    pub stale_messages: u64,
    /// Updates from agents.
    pub updates_received: u64,
    /// Updates that nobody could be told.
    pub updates_dropped: u64,
    /// Acknowledgements passed down.
    pub acknowledgements: u64,
    /// Acknowledgements of something that is not there.
    pub acknowledgements_invalid: u64,
    /// Messages to executors that were passed down.
    pub messages_to_executors: u64,
    /// Messages to executors whose agent is not there.
    pub messages_to_executors_dropped: u64,
    /// Messages of executors that were passed up.
    pub messages_of_executors: u64,
    /// Messages of executors whose framework is not there.
    pub messages_of_executors_dropped: u64,
    /// Acknowledgements of operations.
    pub operation_acknowledgements: u64,
    /// Acknowledgements of operations that do not wait for any.
    pub operation_acknowledgements_invalid: u64,
    /// KILL calls.
    pub kills: u64,
    /// RECONCILE calls.
    pub reconciliations: u64,
    /// Messages and calls, by the name under which Mesos counts them.
    pub messages: BTreeMap<&'static str, u64>,
    /// Ends of tasks, by state, by who said so, and why.
    pub tasks_ended: BTreeMap<(TaskState, Source, Option<Reason>), u64>,
}

impl Counters {
    /// Counts a message.
    pub(crate) fn heard(&mut self, message: &'static str) {
        *self.messages.entry(message).or_insert(0) += 1;
    }

    /// Counts the end of a task, in this state, which may be later than what is reported.
    pub(crate) fn task_ended(&mut self, state: TaskState, status: &TaskStatus) {
        self.ended(state, status.source, status.reason);
    }

    /// Counts the end of a task of which nothing else is known.
    pub(crate) fn ended(&mut self, state: TaskState, source: Source, reason: Option<Reason>) {
        let kind = (state, source, reason);
        *self.tasks_ended.entry(kind).or_insert(0) += 1;
    }
}
