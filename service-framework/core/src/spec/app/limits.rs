//! How far an instance may go beyond what it asks for.

use mete_model::{Limit, TaskLimits};
use serde::{Deserialize, Serialize};

/// Upper bounds of an instance (`resourceLimits`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Thousandths of a CPU; `None`: as the agent is set.
    pub cpus_milli: Option<ResourceLimit>,
    /// Bytes of memory; `None`: what is asked for.
    pub mem_bytes: Option<ResourceLimit>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceLimit {
    /// So much.
    At(u64),
    /// All that the machine has.
    Unlimited,
}

impl ResourceLimits {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same for a task.
    pub fn of_task(&self) -> TaskLimits {
        TaskLimits {
            cpus_milli: self.cpus_milli.map(Into::into),
            mem_bytes: self.mem_bytes.map(Into::into),
        }
    }
}

impl From<ResourceLimit> for Limit {
    fn from(limit: ResourceLimit) -> Self {
        match limit {
            ResourceLimit::At(amount) => Self::At(amount),
            ResourceLimit::Unlimited => Self::Unlimited,
        }
    }
}
