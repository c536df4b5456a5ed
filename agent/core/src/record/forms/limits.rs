//! How far a task may go beyond what it asks for.

use mete_model::{Limit, TaskLimits};
use serde::{Deserialize, Serialize};

/// Both bounds.
#[derive(Serialize, Deserialize)]
pub(super) struct Limits {
    cpus_milli: Option<Bound>,
    mem_bytes: Option<Bound>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    At(u64),
    Unlimited,
}

impl Limits {
    /// `None` when nothing is said.
    pub(super) fn of(limits: &TaskLimits) -> Option<Self> {
        let bound = |limit: Limit| match limit {
            Limit::At(amount) => Bound::At(amount),
            Limit::Unlimited => Bound::Unlimited,
        };
        (!limits.is_empty()).then(|| Self {
            cpus_milli: limits.cpus_milli.map(bound),
            mem_bytes: limits.mem_bytes.map(bound),
        })
    }

    pub(super) fn read(self) -> TaskLimits {
        let limit = |bound: Bound| match bound {
            Bound::At(amount) => Limit::At(amount),
            Bound::Unlimited => Limit::Unlimited,
        };
        TaskLimits {
            cpus_milli: self.cpus_milli.map(limit),
            mem_bytes: self.mem_bytes.map(limit),
        }
    }
}
