//! Operations that frameworks gave a name, that are done, and that they have not acknowledged yet. On disk.
//!
//! ```text
//! done ─▶ told ─▶ acknowledged: forgotten, as when the framework is removed
//!          ▲ └─ no answer: told again, with growing pauses, and whenever the framework subscribes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, OperationId, Resources, SharedMap, Timestamp, UpdateId};

use crate::operations::OperationKind;

/// Most operations of one framework that wait for their acknowledgement. One that acknowledges has few; one that does not
/// must not fill the disk.
pub(crate) const MAX_UNACKNOWLEDGED: usize = 1_000;

/// The first pause before an operation is told again, as in Mesos.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Pauses double up to this, as in Mesos.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Whose operation, and its name.
pub type OperationKey = (FrameworkId, OperationId);

/// An operation that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneOperation {
    /// Whose it is, and its name.
    pub key: OperationKey,
    /// What the framework shows when it has dealt with it.
    pub uuid: UpdateId,
    /// On whose resources.
    pub agent: AgentId,
    /// What was done.
    pub kind: OperationKind,
    /// As it was asked for.
    pub asked: Resources,
    /// What the resources are since then.
    pub made: Resources,
    /// When it was done.
    pub at: Timestamp,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    pub(crate) all: SharedMap<OperationKey, Arc<DoneOperation>>,
    /// How often each was told since its framework subscribed.
    told: BTreeMap<OperationKey, u32>,
    /// How many were done on each agent.
    by_agent: BTreeMap<AgentId, usize>,
    /// Agents of which the last one was forgotten.
    emptied: BTreeSet<AgentId>,
    given_out: u64,
}

impl Operations {
    pub(crate) fn new(all: impl IntoIterator<Item = DoneOperation>) -> Self {
        let mut operations = Self::default();
        for operation in all {
            operations.insert(Arc::new(operation));
        }
        operations
    }

    pub(crate) fn get(&self, key: &OperationKey) -> Option<&Arc<DoneOperation>> {
        self.all.get(key)
    }

    pub(crate) fn insert(&mut self, operation: Arc<DoneOperation>) {
        *self.by_agent.entry(operation.agent.clone()).or_default() += 1;
        let before = self.all.insert(operation.key.clone(), operation);
        self.count_off(before.as_deref());
    }

    pub(crate) fn remove(&mut self, key: &OperationKey) {
        let before = self.all.remove(key);
        self.count_off(before.as_deref());
        self.told.remove(key);
    }

    fn count_off(&mut self, done: Option<&DoneOperation>) {
        if let Some(done) = done
            && let Some(count) = self.by_agent.get_mut(&done.agent)
        {
            *count -= 1;
            if *count == 0 {
                self.by_agent.remove(&done.agent);
                self.emptied.insert(done.agent.clone());
            }
        }
    }

    /// Whether an agent has none that anybody has yet to acknowledge.
    pub(crate) fn is_none_on(&self, agent: &AgentId) -> bool {
        !self.by_agent.contains_key(agent)
    }

    /// Takes the agents of which the last one was forgotten since this was asked before.
    pub(crate) fn take_emptied(&mut self) -> BTreeSet<AgentId> {
        std::mem::take(&mut self.emptied)
    }

    /// It is told once more; how long to wait for the acknowledgement.
    pub(crate) fn told(&mut self, key: &OperationKey) -> Duration {
        let told = self.told.entry(key.clone()).or_default();
        *told = told.saturating_add(1);
        pause(*told)
    }

    /// As if none of them had been told.
    pub(crate) fn begin_again(&mut self, id: &FrameworkId) {
        self.told.retain(|(framework, _), _| framework != id);
    }

    /// Those of one framework, by name.
    pub(crate) fn of_framework(&self, id: &FrameworkId) -> Vec<Arc<DoneOperation>> {
        self.all
            .after(|(framework, _)| framework < id)
            .take_while(|((framework, _), _)| framework == id)
            .map(|(_, operation)| Arc::clone(operation))
            .collect()
    }

    /// Never given out before: no two masters have one epoch.
    pub(crate) fn new_uuid(&mut self, epoch: u64) -> UpdateId {
        let number = (u128::from(epoch) << 64) | u128::from(self.given_out);
        self.given_out += 1;
        UpdateId(number.to_be_bytes())
    }
}

/// How long to wait for an acknowledgement when an operation has been told so many times.
fn pause(told: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << told.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_ten_seconds_to_ten_minutes() {
        let pauses = [1, 2, 3, 6, 7, 8, u32::MAX].map(|told| pause(told).as_secs());

        assert_eq!(pauses, [10, 20, 40, 320, 600, 600, 600]);
    }

    #[test]
    fn masters_of_different_epochs_give_out_different_ids() {
        let (mut one, mut two) = (Operations::default(), Operations::default());

        let ids = [one.new_uuid(1), one.new_uuid(1), two.new_uuid(2)];

        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
    }
}
