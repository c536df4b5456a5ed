//! Operations that are done and not acknowledged, as they lie on disk.

use mete_model::resources::megabytes::{bytes_of, milli_nearest};
use mete_model::{AgentId, Timestamp, UpdateId};
use serde::{Deserialize, Serialize};

use super::part::StoredResources;
use crate::operations::OperationKind;
use crate::state::operations::{DoneOperation, OperationKey};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredOperation {
    uuid: String,
    agent: String,
    kind: StoredKind,
    asked: StoredResources,
    made: StoredResources,
    at_micros: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Reserve,
    Unreserve,
    Create,
    Destroy,
    Grow,
    Shrink { by_bytes: u64 },
}

impl From<&DoneOperation> for StoredOperation {
    fn from(done: &DoneOperation) -> Self {
        Self {
            uuid: done.uuid.to_string(),
            agent: done.agent.as_str().to_owned(),
            kind: match done.kind {
                OperationKind::Reserve => StoredKind::Reserve,
                OperationKind::Unreserve => StoredKind::Unreserve,
                OperationKind::Create => StoredKind::Create,
                OperationKind::Destroy => StoredKind::Destroy,
                OperationKind::Grow => StoredKind::Grow,
                OperationKind::Shrink { by_milli } => StoredKind::Shrink {
                    by_bytes: bytes_of(by_milli),
                },
            },
            asked: (&done.asked).into(),
            made: (&done.made).into(),
            at_micros: done.at.as_micros(),
        }
    }
}

impl StoredOperation {
    /// # Errors
    /// Says what cannot be.
    pub(super) fn read(self, key: OperationKey) -> Result<DoneOperation, String> {
        let uuid: Result<UpdateId, _> = self.uuid.parse();
        Ok(DoneOperation {
            key,
            uuid: uuid.map_err(|bad| bad.to_string())?,
            agent: AgentId::new(&self.agent).map_err(|bad| bad.to_string())?,
            kind: match self.kind {
                StoredKind::Reserve => OperationKind::Reserve,
                StoredKind::Unreserve => OperationKind::Unreserve,
                StoredKind::Create => OperationKind::Create,
                StoredKind::Destroy => OperationKind::Destroy,
                StoredKind::Grow => OperationKind::Grow,
                StoredKind::Shrink { by_bytes } => OperationKind::Shrink {
                    by_milli: milli_nearest(by_bytes),
                },
            },
            asked: self.asked.read()?,
            made: self.made.read()?,
            at: Timestamp::from_micros(self.at_micros),
        })
    }
}
