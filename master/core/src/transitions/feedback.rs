//! A framework that gave an operation a name hears how it went until it says that it knows. What was not done is said once:
//! nothing hangs on it.

use std::sync::Arc;

use mete_model::{AgentId, FrameworkId, OperationId, Timestamp, UpdateId};
use tracing::{debug, info};

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, OperationOutcome};
use crate::registry::Record;
use crate::state::deadlines::Due;
use crate::state::operations::{DoneOperation, MAX_UNACKNOWLEDGED, OperationKey};

impl Cluster {
    /// Why an operation cannot have this name.
    pub(super) fn name_is_free(&self, key: &OperationKey) -> Result<(), String> {
        let (framework, id) = key;
        if self.operations.get(key).is_some() {
            return Err(format!(
                "operation {id} was done and is not acknowledged yet"
            ));
        }
        if self.operations.of_framework(framework).len() >= MAX_UNACKNOWLEDGED {
            return Err(format!(
                "{MAX_UNACKNOWLEDGED} operations of this framework are not acknowledged yet"
            ));
        }
        Ok(())
    }

    /// A named operation is done: on disk with what it changed, and told from now on.
    pub(super) fn operation_done(&mut self, now: Timestamp, done: DoneOperation, out: &mut Out) {
        let done = Arc::new(done);
        out.store.push(Record::Operation(Arc::clone(&done)));
        self.operations.insert(Arc::clone(&done));
        self.tell_operation(now, &done, out);
    }

    /// A framework is in: it hears what it has not acknowledged.
    pub(super) fn tell_operations(&mut self, now: Timestamp, id: &FrameworkId, out: &mut Out) {
        self.operations.begin_again(id);
        for done in self.operations.of_framework(id) {
            self.tell_operation(now, &done, out);
        }
    }

    /// No answer has come. What nobody has asked for since long ago is forgotten: nothing else tells this master that a
    /// framework without tasks is over when it ended while another master ruled.
    pub(crate) fn operation_due(&mut self, now: Timestamp, key: &OperationKey, out: &mut Out) {
        let Some(done) = self.operations.get(key).cloned() else {
            return;
        };
        if self.frameworks.get(&key.0).is_some() {
            self.tell_operation(now, &done, out);
        } else {
            info!(framework = %key.0, operation = %key.1, "operation of an unknown framework forgotten");
            self.forget_operation(key, out);
        }
    }

    /// Tells it, and sets the moment at which it is told again; one that is away hears it when it subscribes.
    fn tell_operation(&mut self, now: Timestamp, done: &DoneOperation, out: &mut Out) {
        let framework = &done.key.0;
        if self.tell_framework(framework, event(done), out) {
            let again = now + self.operations.told(&done.key);
            self.deadlines.set(Due::Operation(done.key.clone()), again);
        }
    }

    /// ACKNOWLEDGE_OPERATION_STATUS
    pub(crate) fn acknowledge_operation(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        id: OperationId,
        uuid: UpdateId,
        out: &mut Out,
    ) {
        let key = (framework.clone(), id);
        let known = self.operations.get(&key);
        if known.is_some_and(|done| done.uuid == uuid && done.agent == *agent) {
            self.forget_operation(&key, out);
            self.count().operation_acknowledgements += 1;
        } else {
            debug!(%framework, operation = %key.1, %uuid, "nothing waits for this acknowledgement");
            self.count().operation_acknowledgements_invalid += 1;
        }
    }

    /// A framework is removed, and its operations with it.
    pub(super) fn forget_operations(&mut self, id: &FrameworkId, out: &mut Out) {
        for done in self.operations.of_framework(id) {
            self.forget_operation(&done.key, out);
        }
    }

    fn forget_operation(&mut self, key: &OperationKey, out: &mut Out) {
        self.operations.remove(key);
        self.deadlines.clear(&Due::Operation(key.clone()));
        out.store.push(Record::OperationForgotten(key.clone()));
    }
}

/// What the framework hears of an operation that is done.
pub(super) fn event(done: &DoneOperation) -> Event {
    Event::Operation {
        id: done.key.1.clone(),
        agent: Some(done.agent.clone()),
        outcome: OperationOutcome::Finished {
            made: done.made.clone(),
            uuid: done.uuid,
        },
    }
}
